"""Which versions of packages are installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def version_of(package: str) -> str:
    """The installed version of a package, or "from source" where it was never installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "from source"


__version__ = version_of("freelabels")
