"""What names a clip for good, wherever and in how many parts it is stored, and what must not be split from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

NUMBERED = ("sequence", "stereo", "rgbd")  # kinds of clips made of numbered images


def shot_of(clip: Mapping[str, Any]) -> str:
    """Of a clip of numbered images, whose own hash is that of its part, the hash of the whole shot; else ""."""
    return str(clip.get("spec", {}).get("shot", "")) if clip.get("kind") in NUMBERED else ""


def clip_identity(clip: Mapping[str, Any]) -> str:
    """What names a clip's source for good: its shot's or content hash, or its key, or else where it came from."""
    source = clip.get("source") or [""]
    return shot_of(clip) or str(clip.get("sha256") or clip.get("key") or source[0])


def group_of(clip: Mapping[str, Any], where: str = "", *, shots: bool = True) -> int:
    """The number of what a clip shares with others that must not be split from it: source file, shot or scene.

    where: its name if it tells none of these. shots: whether parts of a shot of numbered images share one. Even
    over 64 bits.
    """
    name = where
    shot = shot_of(clip) if shots else ""
    for key, value in (("shot", shot), *((key, clip.get(key)) for key in ("sha256", "source", "key"))):
        if value not in (None, "", []):
            name = json.dumps([key, value], sort_keys=True)
            break
    return number_of_name(name)


def number_of_name(name: str) -> int:
    """A name as a number, even over 64 bits."""
    return int.from_bytes(hashlib.sha256(name.encode(errors="surrogatepass")).digest()[:8], "big")
