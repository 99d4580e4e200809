"""Text files about cameras → intrinsics, baselines and poses."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.geometry import intrinsics
from freelabels.pipeline.storage.uris import SourceError, read_bytes

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+|inf|nan)")
CENTRE = 0.5  # such files count pixel centres from 0, the contract from 0.5


def read_calibration(uri: str) -> tuple[NDArray[np.float64], float | None]:
    """K (3, 3) and the stereo baseline in metres (None: not told) from a text file.

    The file is a Middlebury calib.txt or holds one 3 × 3 or 4 × 4 matrix, pixel centres counted from 0.
    Raises SourceError if the file holds neither.
    """
    text = read_bytes(uri).decode("utf-8", "replace")
    named = re.search(r"cam0\s*=\s*\[([^\]]*)\]", text)
    numbers = [float(n) for n in NUMBER.findall(named[1] if named else text)]
    if not named and len(numbers) == 16:
        numbers = [n for k, n in enumerate(numbers) if k % 4 < 3 and k < 12]
    if len(numbers) != 9 or min(numbers[0], numbers[4]) <= 0 or not np.isfinite(numbers).all():
        raise SourceError(f"its calibration {uri} holds no 3 × 3 matrix of intrinsics")
    K = intrinsics(numbers[0], 0, 0)
    K[0, 0], K[1, 1], K[0, 2], K[1, 2] = numbers[0], numbers[4], numbers[2] + CENTRE, numbers[5] + CENTRE
    baseline = re.search(rf"baseline\s*=\s*({NUMBER.pattern})", text)
    return K, float(baseline[1]) / 1000 if baseline else None


def read_pose(uri: str) -> NDArray[np.float64]:
    """Camera → world (4, 4) from a text file with 16 numbers; NaN if it holds anything else."""
    numbers = [float(n) for n in NUMBER.findall(read_bytes(uri).decode("utf-8", "replace"))]
    pose = np.array(numbers).reshape(4, 4) if len(numbers) == 16 else np.full((4, 4), np.nan)
    rigid = np.isfinite(pose).all() and abs(np.linalg.det(pose[:3, :3]) - 1) < 0.01
    return pose if rigid else np.full((4, 4), np.nan)
