"""One image file → upright sRGB pixels, or one sentence why not."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from freelabels.pipeline.media import metadata
from freelabels.pipeline.media.colour import LINEAR, Colour, to_srgb
from freelabels.pipeline.media.deep import BIT_RANGES, decode_deep, is_deep
from freelabels.pipeline.media.metadata import ORIENTATION
from freelabels.pipeline.storage.uris import SourceError

RGB = NDArray[np.uint8]

MIN_SIDE = 16  # pixels; smaller images hold nothing to label
MAX_PIXELS = 1 << 27  # 134 megapixels, about 400 MB decoded; beyond is refused before any pixel is decoded
MAX_FRAME_PIXELS = 1 << 25  # of an animation, whose frames come by the dozen: 8K has 33 million
BACKGROUND = (128, 128, 128)  # what shows through where an image is transparent
ANIMATED = (
    "GIF",
    "WEBP",
    "PNG",
    "AVIF",
)  # formats whose further frames follow in time (a TIFF's or MPO's don't)
SHORTEST_FRAME = 0.02  # seconds; browsers, too, take a shorter or absent duration for the default below
DEFAULT_FRAME = 0.1
FULL_FRAME_DIAGONAL = math.hypot(36, 24)  # mm, what a 35 mm equivalent focal length refers to

# EXIF tags
FOCAL_LENGTH, FOCAL_LENGTH_35MM = 37386, 41989
FOCAL_PLANE_X_RESOLUTION, FOCAL_PLANE_UNIT, PIXEL_X_DIMENSION = 41486, 41488, 40962
MILLIMETRES = {2: 25.4, 3: 10.0, 4: 1.0}  # focal plane resolution units
TRANSPOSED = (5, 6, 7, 8)  # orientations that swap width and height


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image.

    image: (h, w, 3) uint8 sRGB, upright. size: (height, width) of the whole image at full resolution,
    upright; `image` may be coarser by the exact factor `reduced`. focal: in pixels of `size`, None if EXIF
    has none. lossless: whether pixel values are exact (then a label map shows by its few flat colours). grey:
    whether it has one channel. frames: how many follow in time, 1 for a photo. colour: what its numbers were
    taken to mean.
    """

    image: RGB
    size: tuple[int, int]
    reduced: int
    focal: float | None
    lossless: bool
    grey: bool
    frames: int
    colour: str = ""


def decode(data: bytes, at_least: tuple[int, int] | None = None) -> DecodedImage:
    """Decode the first frame of an image file held in `data`, completely.

    at_least: (height, width) that will be needed; a JPEG far larger than that is decoded at 1/2, 1/4 or 1/8
    by its own transform, which is an area average and several times faster. Alpha is composited on mid-grey;
    declared colour becomes sRGB; values of more than 8 bits are scaled by the smallest of the 8-, 10-, 12-, 14-
    and 16-bit ranges that holds them all. Raises SourceError.
    """
    if not is_deep(data):
        return _decode_plain(data, at_least)
    try:
        return _decode_deep(data)
    except SourceError as refusal:
        try:
            return _decode_plain(data, at_least)  # Pillow knows more kinds of TIFF, if only 8 bits of them
        except SourceError:
            raise refusal from None


def _decode_plain(data: bytes, at_least: tuple[int, int] | None) -> DecodedImage:
    with _opened(data) as (file, about):
        width, height = file.size
        lossless = file.format not in ("JPEG", "MPO") and not (file.format == "WEBP" and b"VP8 " in data[:64])
        orientation = _orientation(about.exif)
        turned = orientation in TRANSPOSED
        if at_least and file.format in ("JPEG", "MPO"):
            # twice what is needed, so that the area filter of the final resize decides how the image looks
            file.draft(file.mode, (2 * at_least[not turned], 2 * at_least[turned]))
        reduced = round(width / file.size[0])
        frames = getattr(file, "n_frames", 1) if file.format in ANIMATED else 1
        if frames > 1 and width * height > MAX_FRAME_PIXELS:
            limit = f"the limit of an animation is {MAX_FRAME_PIXELS / 1e6:.0f} million"
            raise SourceError(f"has {width} × {height} pixels a frame, {limit}")
        grey = file.mode not in ("RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "P", "PA")
        meant = about.colour(_profile_mode(file.mode))
        image = upright(_to_rgb(file, meant), orientation)
        size = (width, height) if turned else (height, width)
        focal = _focal(about.exif, width, height)
        return DecodedImage(image, size, reduced, focal, lossless, grey, frames, meant.name)


def animation(data: bytes) -> Iterator[tuple[float, RGB]]:
    """(time in seconds, (h, w, 3) uint8 sRGB) of every frame of an animated gif, webp, png or avif."""
    with _opened(data) as (file, about):
        time, meant = 0.0, about.colour("RGB")
        for index in range(getattr(file, "n_frames", 1)):
            file.seek(index)
            yield time, _to_rgb(file, meant)
            seconds = float(file.info.get("duration", 0) or 0) / 1000
            time += seconds if seconds >= SHORTEST_FRAME else DEFAULT_FRAME


def _decode_deep(data: bytes) -> DecodedImage:
    about = metadata.Metadata()
    with suppress(SourceError), _opened(data) as (_, known):  # of the kinds that Pillow knows
        about = known
    deep = decode_deep(data, check_size)
    meant = about.colour("RGB" if deep.pixels.ndim == 3 else "L")
    if deep.linear:
        meant = Colour("BT.709 (assumed) linear, tone-mapped", transfer=LINEAR)
    image = to_srgb(deep.pixels[..., :3] if deep.pixels.ndim == 3 else deep.pixels, meant)
    if deep.pixels.ndim == 3 and deep.pixels.shape[2] == 4:
        opaque = deep.pixels[..., 3:].astype(np.float32) / (1 if deep.linear else 65535)
        mixed = image * opaque.clip(0, 1) + np.array(BACKGROUND, np.float32) * (1 - opaque.clip(0, 1))
        image = np.rint(mixed).astype(np.uint8)
    orientation = _orientation(about.exif)
    image = upright(image, orientation)
    size = image.shape[0], image.shape[1]
    focal = _focal(about.exif, size[1], size[0])
    return DecodedImage(image, size, 1, focal, True, deep.pixels.ndim == 2, 1, meant.name + deep.what)


def _profile_mode(mode: str) -> str:
    """The kind of ICC profile that goes with a mode of Pillow's."""
    if mode in ("CMYK", "LAB"):
        return mode
    return "L" if mode in ("1", "L", "LA", "La", "F") or mode.startswith("I") else "RGB"


def decode_depth(data: bytes) -> NDArray[np.uint16]:
    """The raw values (h, w) of a 16-bit single-channel image. Raises SourceError for any other."""
    with _opened(data) as (file, _):
        if not file.mode.startswith("I"):
            raise SourceError("its depth image is not a 16-bit single-channel image")
        values = np.asarray(file)
        if values.min() < 0 or values.max() > 65535:
            raise SourceError("its depth image holds more than 16 bits")
        return values.astype(np.uint16)


def check_size(height: int, width: int) -> None:
    """Raise SourceError if an image or frame is too small to hold anything, or too large to decode safely."""
    if width * height > MAX_PIXELS:
        raise SourceError(f"has {width} × {height} pixels, the limit is {MAX_PIXELS / 1e6:.0f} million")
    if min(width, height) < MIN_SIDE:
        raise SourceError(f"has {width} × {height} pixels, the smallest useful side is {MIN_SIDE}")


@contextmanager
def _opened(data: bytes) -> Iterator[tuple[Image.Image, metadata.Metadata]]:
    """An image file in memory and what its metadata says; everything Pillow raises is a SourceError."""
    with warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter(
            "ignore"
        )  # of large images, where we have a limit of our own, and of odd metadata
        try:
            file, about = _identified(data)
            stack.enter_context(file)
            check_size(file.size[1], file.size[0])
            yield file, about
        except (SourceError, GeneratorExit):
            raise
        except Exception as error:
            raise _refusal(error) from error


def _identified(data: bytes) -> tuple[Image.Image, metadata.Metadata]:
    if data.startswith(metadata.PNG):
        bare, about = metadata.of_png(data)
        return Image.open(io.BytesIO(bare)), about
    try:
        file = Image.open(io.BytesIO(data))
    except Exception:
        if not data.startswith(metadata.JPEG):
            raise
        file = Image.open(io.BytesIO(metadata.bare_jpeg(data)))
    exif = Image.Exif()
    with suppress(Exception):  # Pillow raises nearly every kind on broken EXIF
        exif = file.getexif()
    codes = metadata.of_boxes(data) if file.format in ("AVIF", "HEIF") else None
    return file, metadata.Metadata(profile=file.info.get("icc_profile") or b"", codes=codes, exif=exif)


def _refusal(error: Exception) -> SourceError:
    """The sentence for an exception out of Pillow, which raises nearly every kind on broken files."""
    if isinstance(error, UnidentifiedImageError):
        return SourceError("is not an image of a known format")
    if isinstance(error, Image.DecompressionBombError):
        return SourceError(f"has too many pixels, the limit is {MAX_PIXELS / 1e6:.0f} million")
    if isinstance(error, MemoryError):
        return SourceError("does not fit into memory")
    if "truncated" in str(error).lower():
        return SourceError("is truncated")
    return SourceError(f"can't be decoded ({' '.join(str(error).split()) or type(error).__name__})")


def _to_rgb(file: Image.Image, meant: Colour) -> RGB:
    if file.mode.startswith("I") or file.mode == "F":
        return _deep_to_rgb(np.asarray(file), file.mode == "F", meant)
    if file.mode == "LAB":
        source, target = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return np.asarray(ImageCms.profileToProfile(file, source, target, outputMode="RGB"))
    if "transparency" in file.info or file.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        layer = file.convert("RGBA")
        if not meant.is_srgb:
            grey = meant.profile and _profile_mode(file.mode) == "L"
            opaque = to_srgb(np.asarray(layer.convert("L" if grey else "RGB")), meant)
            layer = Image.merge("RGBA", [*Image.fromarray(opaque).split(), layer.getchannel("A")])
        return np.asarray(Image.alpha_composite(Image.new("RGBA", layer.size, (*BACKGROUND, 255)), layer))[
            ..., :3
        ].copy()
    if file.mode == "CMYK":
        return to_srgb(np.asarray(file), meant)
    if meant.profile and _profile_mode(file.mode) == "L":
        return to_srgb(np.asarray(file.convert("L")), meant)
    return to_srgb(np.asarray(file.convert("RGB")), meant)


def _deep_to_rgb(values: NDArray[Any], floating: bool, meant: Colour) -> RGB:
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)) or low < 0 or high > (1 if floating else 65535):
        raise SourceError("holds numbers that are not brightnesses (expected 0..1 or up to 16 bits)")
    top = 1.0 if floating else next(2.0**bits - 1 for bits in BIT_RANGES if high < 2**bits)
    if not meant.is_srgb:
        return to_srgb((values / top).astype(np.float32), meant)
    grey = np.rint(values * (255 / top)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def upright(image: RGB, orientation: int) -> RGB:
    """Undo an EXIF orientation (1..8)."""
    turned = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: np.rot90(a),
    }.get(orientation)
    return image if turned is None else np.ascontiguousarray(turned(image))


def _orientation(exif: Image.Exif) -> int:
    try:
        return int(exif.get(ORIENTATION, 1))
    except Exception:  # it holds anything but a number
        return 1


def _focal(exif: Image.Exif, width: int, height: int) -> float | None:
    """Focal length in pixels from EXIF: the 35 mm equivalent, or focal length over pixel pitch."""
    tags = metadata.exif_folder(exif)

    def number(tag: int) -> float:
        try:
            value = float(tags.get(tag, 0))
        except (TypeError, ValueError, ZeroDivisionError):
            return 0.0
        return value if math.isfinite(value) and value > 0 else 0.0

    equivalent = number(FOCAL_LENGTH_35MM)
    if equivalent:
        return equivalent / FULL_FRAME_DIAGONAL * math.hypot(width, height)
    unit = MILLIMETRES.get(int(number(FOCAL_PLANE_UNIT)), 25.4)
    focal, density, taken = number(FOCAL_LENGTH), number(FOCAL_PLANE_X_RESOLUTION), number(PIXEL_X_DIMENSION)
    if focal and density:
        return focal * density / unit * (max(width, height) / taken if taken else 1.0)
    return None
