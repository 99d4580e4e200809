"""Sound beside frames: which samples belong to which frame, and a signal cut into rows and joined again."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

RATE = 16_000  # samples a second, mono
FULL = 32_767  # what full scale is stored as


def sample_bounds(time: ArrayLike) -> NDArray[np.int64]:
    """(T + 1,) numbers of the samples at which the sound of each frame begins and that of the last one ends.

    time: (T,) seconds, rising, of one clip. Samples are counted from time 0: frame t has those from
    floor(16000 · time[t]) up to floor(16000 · time[t + 1]), so that rows follow each other without gap or overlap.
    The last frame's last as long as those of the one before it; a single frame has none.
    """
    times = np.asarray(time, np.float64)
    end = 2 * times[-1] - times[-2] if len(times) > 1 else times[-1]
    return np.asarray(np.floor(RATE * np.append(times, end)), np.int64)


def rows_of(signal: NDArray[np.int16], time: ArrayLike) -> NDArray[np.int16]:
    """A clip's signal (N,) as rows (T, longest), filled up with 0; it begins at the first frame's time."""
    bounds = sample_bounds(time)
    counts = np.diff(bounds)
    if len(signal) != bounds[-1] - bounds[0]:
        raise ValueError(f"{len(signal)} samples for {bounds[-1] - bounds[0]} that the frames' times ask for")
    rows = np.zeros((len(counts), int(counts.max(initial=0))), np.int16)
    rows[np.arange(rows.shape[1]) < counts[:, None]] = signal
    return rows


def signal_of(rows: NDArray[np.int16], time: ArrayLike) -> NDArray[np.int16]:
    """The inverse of `rows_of`: the samples (N,) of consecutive rows (T, longest) of one clip."""
    counts = np.diff(sample_bounds(time))
    return rows[np.arange(rows.shape[1]) < counts[:, None]]


def as_samples(signal: NDArray[np.float32]) -> NDArray[np.int16]:
    """A signal in -1..1 as stored; what is louder is cut off, NaN is 0."""
    whole = np.rint(np.nan_to_num(signal, nan=0.0) * FULL)
    return np.asarray(np.clip(whole, -FULL, FULL), np.int16)
