"""The sound track cut into the frames' samples, and where something can be heard on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.clip import CONSECUTIVE, SOUND, Clip
from freelabels.generators.contract.detector import register
from freelabels.generators.contract.fields import Array, as_bytes
from freelabels.generators.contract.sounds import RATE, as_samples, rows_of, sample_bounds


@register
@dataclass(frozen=True)
class SoundTrack:
    """Of each frame the samples up to the next one; trusted where the track is there, heard and not cut off.

    The confidence of a frame is 0 where samples of it are missing, and where in the second around it the track is
    dead (quieter than `quiet`, its mean left out) or clipped (more than `clipped` of it at full scale); else 255.
    """

    name: ClassVar[str] = "sound_track"
    version: ClassVar[int] = 1
    makes: ClassVar[tuple[str, ...]] = ("sound", "sound_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({SOUND, CONSECUTIVE})

    around: float = 1.0
    """Seconds around the middle of a frame's samples that are judged."""
    quiet: float = -60.0
    """Level in dB below full scale."""
    clipped: float = 0.01
    """Share of samples."""
    full: float = 0.99
    """Share of full scale from which on a sample counts as cut off."""

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        assert clip.sound is not None
        bounds = sample_bounds(clip.time)
        return {
            "sound": rows_of(as_samples(clip.sound), clip.time),
            "sound_confidence": as_bytes(self.heard(clip.sound, bounds - bounds[0])),
        }

    def heard(self, signal: NDArray[np.float32], bounds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(T,) whether each frame's samples are to be trusted: of a signal (N,) those between `bounds`."""
        known = np.isfinite(signal)
        values = np.where(known, signal, 0).astype(np.float64)
        loud = np.abs(values) >= self.full
        middle, reach = (bounds[:-1] + bounds[1:]) // 2, round(self.around * RATE / 2)
        start, stop = np.maximum(middle - reach, 0), np.minimum(middle + reach, len(signal))
        count, total, power, cut = (
            _sums(of, start, stop) for of in (known.astype(float), values, values**2, loud.astype(float))
        )
        there = np.maximum(count, 1)
        level = 10 * np.log10(np.maximum(power / there - (total / there) ** 2, 1e-12))
        whole = _sums(~known + 0.0, bounds[:-1], bounds[1:]) == 0
        heard = (bounds[1:] > bounds[:-1]) & whole & (level >= self.quiet) & (cut <= self.clipped * there)
        return np.asarray(heard, np.bool_)


def _sums(
    values: NDArray[np.float64], start: NDArray[np.int64], stop: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Sums of values[start:stop], several such."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray(total[stop] - total[start])
