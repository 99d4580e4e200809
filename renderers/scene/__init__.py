"""A scene as pure data, and the assets it may name."""
