"""Image files without the metadata that may keep a decoder from their pixels, and what that metadata says.

What can't be read counts as absent; no text, thumbnail or note in a file ever costs its pixels.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from freelabels.pipeline.media import colour
from freelabels.pipeline.media.colour import Chromaticities, Colour

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
PNG_KEPT = (b"tRNS", b"acTL", b"fcTL", b"fdAT")  # chunks beyond the critical ones that pixels depend on
MAX_PROFILE = 1 << 24  # bytes; the largest profiles in use have about 4 MB
MAX_EXIF = 1 << 16  # bytes; what JPEG has room for
WHOLE_SEGMENT = 14  # bytes, what the shorter of the next two has
JPEG_KEPT = (0xE0, 0xEE)  # JFIF and Adobe segments, which say how pixels are coded
EXIF_IN_TEXT, XMP = b"Raw profile type exif\0", b"XML:com.adobe.xmp\0"
ORIENTATION_IN_XMP = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
ORIENTATION = 0x0112
EXIF_FOLDER, INTEROP_FOLDER, COLOUR_SPACE, INTEROP_INDEX = 0x8769, 0xA005, 0xA001, 1
ADOBE_GAMMA = 563 / 256
SRGB_GAMMA, GAMMA_ALIKE, PRIMARIES_ALIKE = 1 / 0.45455, 0.1, 0.005


@dataclass(frozen=True)
class Metadata:
    """What is needed of it. profile: ICC, b"" if there is none. codes: primaries and transfer of ISO/IEC 23091-2.

    gamma: exponent that makes light of numbers. srgb: whether the file says that it is sRGB.
    """

    profile: bytes = b""
    codes: tuple[int, int] | None = None
    gamma: float = 0.0
    primaries: Chromaticities | None = None
    srgb: bool = False
    exif: Image.Exif = field(default_factory=Image.Exif)

    def colour(self, mode: str) -> Colour:
        """What the numbers of a picture of Pillow's mode L, RGB, CMYK or LAB mean."""
        unusable = ""
        if self.profile:
            found = colour.of_profile(self.profile, mode)
            if found is not None:
                return found
            unusable = ": its ICC profile can't be used"
        if self.codes:
            return colour.of_codes(*self.codes)
        if mode == "CMYK":
            return Colour(f"CMYK without a profile, assumed plain{unusable}")
        if self.srgb:
            return Colour("sRGB")
        primaries = self.primaries or colour.BT709
        if self.gamma:
            alike = all(abs(a - b) < PRIMARIES_ALIKE for a, b in zip(primaries, colour.BT709, strict=True))
            if alike and abs(self.gamma - SRGB_GAMMA) < GAMMA_ALIKE:
                return Colour("sRGB (gAMA)")
            return Colour(f"gamma {self.gamma:.3g} (gAMA)", colour.BT709 if alike else primaries, self.gamma)
        space = exif_folder(self.exif).get(COLOUR_SPACE)
        if space == 2 or str(exif_folder(self.exif, INTEROP_FOLDER).get(INTEROP_INDEX)).startswith("R03"):
            return Colour("Adobe RGB (EXIF)", colour.ADOBE_RGB, ADOBE_GAMMA)
        if space == 1:
            return Colour("sRGB (EXIF)")
        return Colour(f"sRGB, assumed{unusable}")


def exif_folder(exif: Image.Exif, folder: int = EXIF_FOLDER) -> dict[int, Any]:
    """The tags of a folder inside EXIF, none if it is broken."""
    try:
        return dict(exif.get_ifd(folder))
    except Exception:  # Pillow raises nearly every kind
        return {}


def of_png(data: bytes) -> tuple[bytes, Metadata]:
    """A PNG without its metadata, and that. A broken file is left as it is from where it breaks."""
    kept, found, position = [data[: len(PNG)]], Metadata(), len(PNG)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            break
        if not kind[0] & 0x20 or kind in PNG_KEPT:
            kept.append(data[position:end])
        else:
            found = _noted(found, kind, data[position + 8 : end - 4])
        position = end
    kept.append(data[position:])
    return b"".join(kept), found


def _noted(found: Metadata, kind: bytes, body: bytes) -> Metadata:
    """What was found, and what another chunk says."""
    try:
        if kind == b"iCCP":
            packed = zlib.decompressobj()
            profile = packed.decompress(body[body.index(b"\0") + 2 :], MAX_PROFILE)
            return replace(found, profile=b"" if packed.unconsumed_tail else profile)
        if kind == b"sRGB":
            return replace(found, srgb=True)
        if kind == b"gAMA":
            gamma = struct.unpack(">I", body)[0] / 1e5
            return replace(found, gamma=1 / gamma if 0.1 < gamma < 10 else 0.0)
        if kind == b"cHRM":
            x, y, *rest = (value / 1e5 for value in struct.unpack(">8I", body))
            usable = all(0 <= value <= 1 for value in (x, y, *rest)) and y > 0
            r, g, b = rest[:2], rest[2:4], rest[4:]
            return replace(found, primaries=(r[0], r[1], g[0], g[1], b[0], b[1], x, y) if usable else None)
        if kind == b"cICP":
            return replace(found, codes=(body[0], body[1]))
        if kind == b"eXIf" and len(body) <= MAX_EXIF:
            return replace(found, exif=_exif(body))
        if kind in (b"tEXt", b"zTXt") and body.startswith(EXIF_IN_TEXT):  # as ImageMagick writes it
            text = body[len(EXIF_IN_TEXT) :]
            text = text if kind == b"tEXt" else zlib.decompressobj().decompress(text[1:], 4 * MAX_EXIF)
            return replace(found, exif=_exif(bytes.fromhex("".join(text.decode("ascii").split()[2:]))))
        if kind == b"iTXt" and body.startswith(XMP) and (turned := ORIENTATION_IN_XMP.search(body)):
            found.exif.setdefault(ORIENTATION, int(turned[1]))
    except Exception:  # whatever is wrong with it, it counts as absent
        pass
    return found


def _exif(body: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(body)
    exif.get(ORIENTATION)
    return exif


def of_boxes(data: bytes) -> tuple[int, int] | None:
    """The colour codes in an AVIF or HEIF file, None if it has none."""
    place = data.find(b"colrnclx", 0, 1 << 16)
    if not 0 <= place <= len(data) - 12:
        return None
    primaries, transfer = struct.unpack_from(">HH", data, place + 8)
    return primaries, transfer


def bare_jpeg(data: bytes) -> bytes:
    """A JPEG without the segments that hold no pixels."""
    kept, position = [data[:2]], 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xDA or length < 2:
            break
        whole = marker in JPEG_KEPT and length >= WHOLE_SEGMENT
        if whole or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(data[position : position + 2 + length])
        position += 2 + length
    kept.append(data[position:])
    return b"".join(kept)
