"""A scene as pure data, and the assets it may name. Imported by every later room here and the stages."""
