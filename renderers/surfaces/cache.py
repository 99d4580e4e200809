"""The folder in which files made from assets are kept between runs, each named by its content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Where thinned meshes and physics files are kept between runs: $FREELABELS_CACHE or the user's cache."""
    root = os.environ.get("FREELABELS_CACHE")
    if root is None:
        root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        root = str(Path(root) / "freelabels")
    folder = Path(root) / "assets"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_cached(name: str, content: bytes) -> Path:
    """Path of a cache file with this content; its name carries the content's hash, so it is written once."""
    plain = Path(name)
    path = cache_folder() / f"{plain.stem}-{hashlib.sha256(content).hexdigest()[:16]}{plain.suffix}"
    if not path.exists():
        write(path, content)
    return path


def write(path: Path, content: bytes) -> None:
    """Write a file at once: other processes see all of it or none."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)
