"""What a place sounds like: statistics of cochlear envelopes around each frame, as of sound textures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import register
from freelabels.generators.contract.fields import Array, as_stored
from freelabels.generators.contract.products import times
from freelabels.generators.contract.sounds import FULL, RATE, sample_bounds, signal_of

BANDS = 32
WINDOW, HOP = 512, 80  # samples of a spectrum, and from one to the next: envelopes have 200 values a second
LOWEST = 50.0  # Hz, of the lowest band's middle
MODULATIONS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)  # Hz, middles of bands one octave wide
APART = (1, 2, 3, 5, 8, 11, 16, 21)  # bands whose envelopes are correlated lie so far apart
SILENT = 1e-4  # of full scale, added to envelopes: what is quieter counts as nothing
STATISTICS = 2 * BANDS + BANDS * len(MODULATIONS) + sum(BANDS - apart for apart in APART)


@register
@dataclass(frozen=True)
class SoundTexture:
    """Statistics of each frame's sound over `seconds` around it.

    Of the compressed envelopes of cochlear bands: mean, spread, power of modulation (logarithm of its share, an
    octave each) and correlations across bands. The confidence is the mean of the sound's over those seconds, and 0
    where the frame's own is 0.

    Source: McDermott and Simoncelli, Sound texture perception via statistics of the auditory periphery, 2011, as
    summed up for pictures by Owens et al., Ambient sound provides supervision for visual learning, 2016; spectra
    instead of their filters, and no statistics of third order.
    """

    name: ClassVar[str] = "sound_texture"
    version: ClassVar[int] = 1
    makes: ClassVar[tuple[str, ...]] = ("sound_texture", "sound_texture_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({"sound", "sound_confidence"})

    seconds: float = 3.75
    compression: float = 0.3
    """Power to which envelopes are raised, as the ear does."""

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        trust = clip.labels["sound_confidence"]
        made = np.full((len(clip), STATISTICS), np.nan)
        confidence = np.zeros(len(clip))
        if trust.any():
            envelopes = cochlear_envelopes(signal_of(clip.labels["sound"], clip.time)) ** self.compression
            bounds = sample_bounds(clip.time)
            middle, reach = (bounds[:-1] + bounds[1:]) // 2 - bounds[0], round(self.seconds * RATE / 2)
            modulated = modulation_bands(envelopes)
            for t in np.flatnonzero(trust):
                some = slice(max(0, (middle[t] - reach) // HOP), (middle[t] + reach) // HOP + 1)
                made[t] = statistics(envelopes[:, some], modulated[:, :, some])
                near = np.abs(middle - middle[t]) <= reach
                confidence[t] = trust[near].mean()
        return {
            "sound_texture": as_stored("sound_texture", made),
            "sound_texture_confidence": np.asarray(np.rint(confidence), np.uint8),
        }


def cochlear_envelopes(signal: NDArray[np.int16]) -> NDArray[np.float64]:
    """(BANDS, E) root mean squares of a signal (N,) in cochlear bands, one each `HOP` samples; full scale is 1."""
    padded = np.pad(signal.astype(np.float64) / FULL, (WINDOW // 2, WINDOW // 2 + HOP))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[: len(signal) + 1 : HOP]
    window = np.hanning(WINDOW + 1)[:-1]
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2 * 2 / (window.sum() ** 2)
    return np.asarray(np.sqrt(times(power, cochlear_filters().T)).T + SILENT)


def cochlear_filters() -> NDArray[np.float64]:
    """(BANDS, WINDOW / 2 + 1) shares of each frequency that go to each band: cosines, even on the ear's scale.

    Source: Glasberg and Moore, Derivation of auditory filter shapes from notched-noise data, 1990.
    """
    frequencies = np.asarray(np.fft.rfftfreq(WINDOW, 1 / RATE), np.float64)

    def scale(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(21.4 * np.log10(1 + 0.00437 * hertz))

    low, high = scale(np.array([LOWEST, RATE / 2]))
    middles = np.linspace(low, high, BANDS + 1)[:-1]
    off = (scale(frequencies) - middles[:, None]) / (middles[1] - middles[0])
    # The lowest bands are narrower than a spectrum's steps: each takes at least its nearest frequency.
    shares = np.where(np.abs(off) < 1, np.cos(np.pi / 2 * off) ** 2, 0.0)
    nearest = np.abs(off).argmin(axis=1)
    shares[np.arange(BANDS), nearest] = np.maximum(shares[np.arange(BANDS), nearest], 0.5)
    return np.asarray(shares)


def modulation_bands(envelopes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(BANDS, modulations, E) envelopes (BANDS, E) filtered into octaves of modulation."""
    length = envelopes.shape[1]
    size = 1 << (2 * length - 1).bit_length()
    octaves = np.log2(np.maximum(np.fft.rfftfreq(size, HOP / RATE), 1e-6))
    spectrum = np.fft.rfft(envelopes - envelopes.mean(axis=1, keepdims=True), size, axis=1)
    made = []
    for hertz in MODULATIONS:
        off = octaves - np.log2(hertz)
        share = np.where(np.abs(off) < 1, np.cos(np.pi / 2 * off), 0.0)
        made.append(np.fft.irfft(spectrum * share, size, axis=1)[:, :length])
    return np.stack(made, axis=1)


def statistics(envelopes: NDArray[np.float64], modulated: NDArray[np.float64]) -> NDArray[np.float64]:
    """(STATISTICS,) of envelopes (BANDS, E) and their octaves of modulation (BANDS, modulations, E)."""
    mean, spread = envelopes.mean(axis=1), envelopes.std(axis=1)
    power = (modulated**2).mean(axis=2) / (spread**2 + 1e-6)[:, None]
    unit = (envelopes - mean[:, None]) / (spread + 1e-3)[:, None]
    alike = [(unit[apart:] * unit[:-apart]).mean(axis=1) for apart in APART]
    return np.concatenate([mean, spread / mean, np.log10(power + 1e-3).ravel(), *alike])
