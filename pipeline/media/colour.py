"""Declared colour → sRGB, one function for stills and video: ICC profiles and the codes of ISO/IEC 23091-2.

Light is reckoned with 1 as diffuse white: 203 cd/m² of PQ and HLG (BT.2408), 1.0 of linear pictures. Up to 0.8
nothing changes; whatever is brighter, without end, is rolled off into what is left below white.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

RGB = NDArray[np.uint8]
Pixels = NDArray[
    Any
]  # (h, w) grey, (h, w, 3) RGB or (h, w, 4) CMYK; uint8, uint16 or float32 of 0..1 and beyond
Chromaticities = tuple[
    float, float, float, float, float, float, float, float
]  # x, y of red, green, blue, white

D65, C, E, DCI = (0.3127, 0.3290), (0.310, 0.316), (1 / 3, 1 / 3), (0.314, 0.351)
BT709: Chromaticities = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *D65)
BT2020: Chromaticities = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *D65)
BT601_525: Chromaticities = (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *D65)
BT601_625: Chromaticities = (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *D65)
ADOBE_RGB: Chromaticities = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *D65)
P3: Chromaticities = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *D65)
PRIMARIES: dict[int, tuple[str, Chromaticities]] = {
    1: ("BT.709", BT709),
    4: ("BT.470 M", (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, *C)),
    5: ("BT.601 625", BT601_625),
    6: ("BT.601 525", BT601_525),
    7: ("SMPTE 240M", BT601_525),
    8: ("film", (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, *C)),
    9: ("BT.2020", BT2020),
    10: ("XYZ", (1.0, 0.0, 0.0, 1.0, 0.0, 0.0, *E)),
    11: ("DCI-P3", (*P3[:6], *DCI)),
    12: ("Display P3", P3),
    22: ("EBU 3213", (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *D65)),
}
SDR, PQ, HLG, LINEAR = "SDR", "PQ", "HLG", "linear"
# Other codes are camera curves of standard dynamic range, which players show as if they were sRGB; so does this.
TRANSFERS: dict[int, str | float] = {4: 2.2, 5: 2.8, 8: LINEAR, 16: PQ, 17: 2.6, 18: HLG}
HDR = (PQ, HLG, LINEAR)  # they hold more than white

WHITE = 203.0  # cd/m² of diffuse white in PQ and HLG
PQ_PEAK, HLG_PEAK, HLG_GAMMA = (
    10_000.0,
    1_000.0,
    1.2,
)  # cd/m²; HLG is shown on a display of 1,000 cd/m² (BT.2100)
KNEE = 0.8  # light from which on highlights are rolled off
DEEP_TOP = 65535
ALIKE = 2  # levels; a profile that changes no colour by more is sRGB under another name
PROFILE_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}  # of ICC → of Pillow
XYZ_TO_CONES = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)  # Bradford


@dataclass(frozen=True)
class Colour:
    """What the numbers of a picture mean, and how that is known.

    name: as recorded with a clip. primaries: chromaticities of R, G, B and white. transfer: SDR, PQ, HLG, LINEAR
    or the exponent of a power law. profile: an ICC profile, which then says it all.
    """

    name: str = "sRGB, assumed"
    primaries: Chromaticities = BT709
    transfer: str | float = SDR
    profile: bytes = b""

    @property
    def is_srgb(self) -> bool:
        """Whether the numbers are sRGB's already."""
        return not self.profile and self.transfer == SDR and self.primaries == BT709

    @property
    def tone_mapped(self) -> bool:
        """Whether the picture may hold more light than sRGB can show."""
        return not self.profile and self.transfer in HDR


def to_srgb(pixels: Pixels, colour: Colour) -> RGB:
    """(h, w, 3) uint8 sRGB of (h, w), (h, w, 3) or (h, w, 4) numbers, as `colour` says that they are meant."""
    if colour.profile and (converted := _by_profile(_to_8_bits(pixels), colour.profile)) is not None:
        return converted
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return np.asarray(Image.fromarray(_to_8_bits(pixels), "CMYK").convert("RGB"))
    if colour.profile or colour.is_srgb:
        plain = _to_8_bits(pixels)
        return np.repeat(plain[..., None], 3, axis=-1) if plain.ndim == 2 else plain
    rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)
    light = _light(np.ascontiguousarray(rgb), colour)
    if colour.primaries != BT709:
        light = np.asarray(cv2.transform(light, _matrix(colour.primaries)), np.float32)
    if colour.tone_mapped:
        light = _roll_off(light)
    return np.asarray(_encoder()[(np.clip(light, 0, 1) * DEEP_TOP + 0.5).astype(np.uint16)])


def of_codes(primaries: int, transfer: int) -> Colour:
    """The colour that codes of ISO/IEC 23091-2 declare; unspecified is BT.709 SDR, of PQ and HLG BT.2020."""
    curve = TRANSFERS.get(transfer, SDR)
    usual = 9 if curve in (PQ, HLG) else 1
    name, chromaticities = PRIMARIES.get(primaries, PRIMARIES[usual])
    assumed = "" if primaries in PRIMARIES else " (assumed)"
    shown = curve if isinstance(curve, str) else f"gamma {curve}"
    mapped = ", tone-mapped" if curve in HDR else ""
    return Colour(f"{name}{assumed} {shown}{mapped}", chromaticities, curve)


def of_profile(profile: bytes, mode: str) -> Colour | None:
    """The colour of an ICC profile for a picture of mode L, RGB, CMYK or LAB; None if it is no such profile."""
    converter = _converter(profile, mode)
    if converter is None:
        return None
    return Colour(f"{converter.name} (ICC)", profile=b"" if converter.transform is None else profile)


@dataclass(frozen=True)
class _Converter:
    """An ICC profile's name and its way to sRGB, None if it is sRGB."""

    name: str
    transform: Any


@lru_cache(16)
def _converter(profile: bytes, mode: str) -> _Converter | None:
    """None if the profile is broken or for pictures of another kind."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if PROFILE_MODES.get(source.profile.xcolor_space) != mode:
            return None
        name = (
            " ".join(ImageCms.getProfileDescription(source).split())
            or hashlib.sha256(profile).hexdigest()[:8]
        )
        intent = ImageCms.Intent.PERCEPTUAL if mode == "CMYK" else ImageCms.Intent.RELATIVE_COLORIMETRIC
        transform: Any = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", intent)
        if mode in ("L", "RGB"):
            steps = np.linspace(0, 255, 9).astype(np.uint8)
            grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(27, 27, 3)
            probe = Image.fromarray(grid if mode == "RGB" else np.ascontiguousarray(grid[..., 0]))
            made = np.asarray(ImageCms.applyTransform(probe, transform), np.int16)
            if np.abs(made - np.asarray(probe.convert("RGB"), np.int16)).max() <= ALIKE:
                transform = None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, SyntaxError):
        return None
    return _Converter(name[:60], transform)


def _by_profile(pixels: RGB, profile: bytes) -> RGB | None:
    mode = "L" if pixels.ndim == 2 else "CMYK" if pixels.shape[2] == 4 else "RGB"
    converter = _converter(profile, mode)
    if converter is None or converter.transform is None:
        return None
    image = Image.fromarray(np.ascontiguousarray(pixels), mode)
    return np.asarray(ImageCms.applyTransform(image, converter.transform), np.uint8)


def _to_8_bits(pixels: Pixels) -> RGB:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16:
        return np.asarray((pixels.astype(np.uint32) + 128) // 257, np.uint8)
    return np.asarray(np.rint(np.clip(pixels, 0, 1) * 255), np.uint8)


def _light(rgb: Pixels, colour: Colour) -> NDArray[np.float32]:
    """Linear light (h, w, 3), diffuse white 1, in the picture's own primaries."""
    if rgb.dtype == np.uint8:
        light = _decoder(colour.transfer)[rgb.astype(np.uint16) * 257]
    elif rgb.dtype == np.uint16:
        light = _decoder(colour.transfer)[rgb]
    elif colour.transfer == LINEAR:
        light = rgb.astype(np.float32)
    else:
        light = _decoder(colour.transfer)[(np.clip(rgb, 0, 1) * DEEP_TOP + 0.5).astype(np.uint16)]
    if colour.transfer == HLG:
        luminance = cv2.transform(light, np.array([[0.2627, 0.6780, 0.0593]], np.float32))
        light = (
            light
            * np.power(np.maximum(luminance, 0), HLG_GAMMA - 1)[..., None]
            * np.float32(HLG_PEAK / WHITE)
        )
    return np.asarray(light, np.float32)


@lru_cache(8)
def _decoder(transfer: str | float) -> NDArray[np.float32]:
    """(65536,) light of every code; of HLG the scene's, 0..1."""
    code = np.arange(DEEP_TOP + 1) / DEEP_TOP
    if transfer == PQ:  # SMPTE ST 2084
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        root = code ** (1 / m2)
        light = PQ_PEAK / WHITE * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    elif transfer == HLG:  # BT.2100
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    elif transfer == SDR:
        light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    else:
        light = code if transfer == LINEAR else code ** float(transfer)
    return light.astype(np.float32)


@lru_cache(1)
def _encoder() -> RGB:
    """(65536,) sRGB of light 0..1."""
    light = np.arange(DEEP_TOP + 1) / DEEP_TOP
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(code * 255), np.uint8)


@lru_cache(8)
def _matrix(primaries: Chromaticities) -> NDArray[np.float32]:
    """(3, 3) linear RGB of these primaries → of BT.709, the white adapted by Bradford's cones."""
    return np.asarray(np.linalg.inv(_to_xyz(BT709)) @ _to_xyz(primaries), np.float32)


def _to_xyz(primaries: Chromaticities) -> NDArray[np.float64]:
    """(3, 3) linear RGB → XYZ under D65."""
    *colours, (x, y) = zip(*[iter(primaries)] * 2, strict=True)
    columns = np.array([(a, b, 1 - a - b) for a, b in colours]).T
    white = np.array([x / y, 1, (1 - x - y) / y])
    matrix = columns * np.linalg.solve(columns, white)
    d65 = np.array([D65[0] / D65[1], 1, (1 - D65[0] - D65[1]) / D65[1]])
    gains = (XYZ_TO_CONES @ d65) / (XYZ_TO_CONES @ white)
    return np.asarray(np.linalg.inv(XYZ_TO_CONES) @ np.diag(gains) @ XYZ_TO_CONES @ matrix)


def _roll_off(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """All light brought below 1, hues kept: nothing changes up to KNEE, infinity becomes 1."""
    peak = light.max(axis=-1)
    bright = peak > KNEE
    if bright.any():
        over = (peak[bright] - KNEE) / (1 - KNEE)
        light = light.copy()
        light[bright] *= ((KNEE + (1 - KNEE) * over / (1 + over)) / peak[bright])[:, None]
    return light
