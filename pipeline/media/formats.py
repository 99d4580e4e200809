"""Which files may be pictures or videos, by suffix: what the decoders of this very install say they read."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

import av
from PIL import Image

with suppress(ImportError):  # the extra "heic"
    from pillow_heif import register_heif_opener

    register_heif_opener()

# Formats of Pillow's that hold no photo: documents, drawings, icons, textures, grids of numbers and what else.
NO_PHOTOS = {
    *("PDF", "EPS", "WMF", "ICO", "CUR", "ICNS", "XBM", "XPM", "MSP", "PALM", "GBR", "BLP", "FTEX", "DDS"),
    *("FLI", "MPEG", "FITS", "BUFR", "GRIB", "HDF5", "IPTC", "DCX"),
}
DEEP = {".exr", ".hdr", ".dpx"}  # pictures that FFmpeg decodes and Pillow doesn't
# FFmpeg's names of containers made for video; it also reads sound, subtitles, playlists and pictures.
CONTAINERS = (
    *(
        "mov",
        "mp4",
        "3gp",
        "3g2",
        "f4v",
        "matroska",
        "webm",
        "avi",
        "mpeg",
        "mpegts",
        "vob",
        "dvd",
        "mxf",
        "asf",
    ),
    *("flv", "ogv", "dv", "gxf", "ivf", "nut", "rm", "wtv", "yuv4mpegpipe", "mjpeg"),
    *("m4v", "mpeg1video", "mpeg2video", "h264", "hevc"),
)
NO_VIDEO = {
    *(".m4a", ".m4b", ".mka", ".mks", ".wma", ".ra", ".isma"),  # sound and subtitles
    *(".ism", ".avif", ".heic", ".heif", ".mpo", ".psp"),  # lists and pictures
}
SYNONYMS = frozenset(
    (".qt", ".mpe", ".m2p", ".divx", ".rmvb", ".lrv", ".insv")
)  # cameras' and players' names
EXTRAS = {".heic": "pillow-heif", ".heif": "pillow-heif", ".hif": "pillow-heif", ".jxl": "pillow-jxl-plugin"}


_MODES: tuple[Literal["r", "w"], ...] = ("r", "w")


def _images() -> frozenset[str]:
    Image.init()
    known = {suffix for suffix, name in Image.registered_extensions().items() if name not in NO_PHOTOS}
    return frozenset(known | DEEP)


def _videos() -> frozenset[str]:
    found: set[str] = set()
    for name in CONTAINERS:
        for mode in _MODES:  # some list their suffixes for writing only
            with suppress(ValueError):
                found |= {f".{suffix}" for suffix in av.ContainerFormat(name, mode).extensions}
    return frozenset(found | SYNONYMS) - NO_VIDEO


IMAGE_SUFFIXES, VIDEO_SUFFIXES = _images(), _videos()


def missing(suffix: str) -> str:
    """The package that would read files of this suffix, which nothing here reads; "" if none is known."""
    return "" if suffix in IMAGE_SUFFIXES else EXTRAS.get(suffix, "")
