"""The camera: from linear radiance to the bytes of a photograph."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.geometry import Floats
from freelabels.renderers.surfaces.appearance import Sensor
from freelabels.renderers.surfaces.palette import linear_to_srgb


def develop(radiance: Floats, sensor: Sensor, rng: np.random.Generator) -> NDArray[np.uint8]:
    """An sRGB picture uint8 (H, W, 3) of linear sRGB radiance (H, W, 3); 1 is white at exposure 0.

    In the order of a real camera: lens (blur, vignetting), exposure, shot and read noise in the sensor, white
    balance, tone curve, sRGB, JPEG.
    """
    light: Floats = np.asarray(radiance, np.float32) * np.float32(2.0**sensor.exposure)
    height, width = light.shape[:2]
    if sensor.blur > 0:
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), sensor.blur, borderType=cv2.BORDER_REPLICATE))
    if sensor.vignetting > 0:
        light = light * vignette(height, width, sensor.vignetting)[..., None]
    gains = np.asarray(sensor.white_balance, np.float32)
    variance = np.full(3, np.float32(sensor.read_noise**2))
    if sensor.full_well > 0:
        variance = variance + np.clip(light, 0, 2) / np.float32(sensor.full_well)
    if sensor.full_well > 0 or sensor.read_noise > 0:
        light = light + np.sqrt(variance) * rng.standard_normal(light.shape, np.float32)
    picture = _bytes(sensor.contrast)[_entries(light * gains)]
    return _compressed(picture, sensor.jpeg) if sensor.jpeg else picture


def vignette(height: int, width: int, loss: float) -> Floats:
    """Transmission (H, W) of a lens: 1 in the middle, 1 − loss in the corners, falling with the square."""
    y = ((np.arange(height, dtype=np.float32) + 0.5) / height - 0.5)[:, None]
    x = ((np.arange(width, dtype=np.float32) + 0.5) / width - 0.5)[None]
    square = (x * x * width**2 + y * y * height**2) * np.float32(4 / (width**2 + height**2))
    return np.asarray(1 - np.float32(loss) * square, np.float32)


SHOULDER = 0.4  # radiance from where highlights are compressed


def tone_curve(light: Floats, contrast: float) -> NDArray[np.float64]:
    """Linear light with contrast about mid grey (0.18) and a soft shoulder into white, in [0, 1]."""
    light = np.maximum(np.asarray(light, np.float64), 0)
    if contrast != 1:
        light = np.asarray(0.18 * (np.asarray(light, np.float64) / 0.18) ** contrast)
    head = 1 - SHOULDER
    over = np.maximum(light - SHOULDER, 0)
    return np.asarray(np.minimum(light, SHOULDER) + head * (1 - np.exp(-over / head)))


_STEPS = 1 << 13  # entries of the table of bytes: at most half a byte apart
_WHITEST = 4.0  # radiance that is white under every tone curve


def _entries(light: Floats) -> NDArray[np.int16]:
    """Rows in the table of bytes, evenly spaced in the square root of radiance."""
    root = np.sqrt(np.clip(light, 0, np.float32(_WHITEST)))
    root *= np.float32((_STEPS - 1) / np.sqrt(_WHITEST))
    return np.asarray(np.rint(root), np.int16)


@lru_cache(maxsize=64)
def _bytes(contrast: float) -> NDArray[np.uint8]:
    """The sRGB byte of each entry: tone curve and transfer function."""
    light = (np.arange(_STEPS) / (_STEPS - 1)) ** 2 * _WHITEST
    return np.asarray(np.rint(linear_to_srgb(tone_curve(light, contrast)) * 255), np.uint8)


def _compressed(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    done, code = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    read = cv2.imdecode(code, cv2.IMREAD_COLOR) if done else None
    if read is None:
        raise RuntimeError(f"OpenCV could not compress a picture of {picture.shape} at quality {quality}")
    return np.ascontiguousarray(read[..., ::-1], np.uint8)
