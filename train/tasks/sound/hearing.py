"""Sound as a net takes it: samples of some frames as a picture of levels, and a small trunk for that picture."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from freelabels.generators.contract.sounds import FULL, RATE
from freelabels.train.data.labels import SAMPLES_SUFFIX, WEIGHT_SUFFIX
from freelabels.train.data.loader import Batch
from freelabels.train.tasks.contract.task import everyone

SPECTRUM, WINDOW, HOP = 1024, 512, 160  # samples
BANDS, STEPS = 64, 64  # of a picture: mel bands, and times, however long the sound
LOWEST = 60.0  # Hz
FLOOR = 1e-7  # power that counts as silence, of full scale 1
CHANNELS = (32, 64, 128, 256)


def audible(batch: Batch) -> Tensor:
    """Weights (B,): 1 where all frames are there and none of their sound is silent or unknown."""
    return everyone(batch) * (batch["sound" + WEIGHT_SUFFIX] > 0).all(1).float()


def wave(batch: Batch, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
    """The samples of consecutive frames as one signal each, (B, L) float32 in -1 … 1, and their numbers (B,).

    part: which of the frames. What a shorter one has too many is 0.
    """
    rows, counts = batch["sound"][:, part], batch["sound" + SAMPLES_SUFFIX][:, part]
    place = torch.arange(rows.shape[2], device=rows.device)
    starts = counts.cumsum(1) - counts
    lengths = counts.sum(1)
    longest = max(1, int(lengths.max()))
    # Samples beyond a row's own go to one place more than there is, which is cut off.
    to = torch.where(place < counts[..., None], starts[..., None] + place, longest).flatten(1)
    out = torch.zeros(len(rows), longest + 1, device=rows.device)
    return out.scatter(1, to, rows.flatten(1).float() / FULL)[:, :-1], lengths


def levels(signal: Tensor, lengths: Tensor) -> Tensor:
    """Log-mel pictures (B, 1, BANDS, STEPS) of signals (B, L), of which so many samples count (B,).

    Each has mean 0 and spread 1, so that loudness tells nothing of the recording it is from. A pure function of
    each signal, whatever others it is with.
    """
    with torch.autocast(signal.device.type, enabled=False):
        window = torch.hann_window(WINDOW, device=signal.device)
        spectra = torch.stft(
            signal, SPECTRUM, HOP, WINDOW, window, center=True, pad_mode="constant", return_complex=True
        )
        power = spectra.abs().square() * (2 / window.sum() ** 2)
        mel = torch.from_numpy(filters()).to(signal.device) @ power  # (B, BANDS, frames)
        # The mean over each of STEPS equal parts of the signal, from sums up to fractions of a frame.
        sums = F.pad(mel.double().cumsum(2), (1, 0))
        frames = (lengths / HOP).clamp(min=1.0, max=mel.shape[2]).double()
        edges = frames[:, None] * torch.linspace(0, 1, STEPS + 1, device=signal.device, dtype=torch.double)
        low = edges.floor().long().clamp(max=mel.shape[2] - 1)
        at = [sums.gather(2, k[:, None].expand(-1, BANDS, -1)) for k in (low, low + 1)]
        upto = at[0] + (edges - low)[:, None] * (at[1] - at[0])
        mean = upto.diff(dim=2) / (frames / STEPS)[:, None, None]
        loud = (mean.clamp_min(0) + FLOOR).log().float()
        spread = loud.std((1, 2), correction=0, keepdim=True)
        return ((loud - loud.mean((1, 2), keepdim=True)) / (spread + 0.1))[:, None]


@cache
def filters() -> np.ndarray:
    """(BANDS, SPECTRUM / 2 + 1) float32 shares of each frequency: triangles, even on the mel scale."""
    low, high = (2595 * math.log10(1 + hertz / 700) for hertz in (LOWEST, RATE / 2))
    mel = np.linspace(low, high, BANDS + 2)
    hertz = 700 * (10 ** (mel / 2595) - 1)
    at = np.fft.rfftfreq(SPECTRUM, 1 / RATE)
    rise = (at - hertz[:-2, None]) / (hertz[1:-1] - hertz[:-2])[:, None]
    fall = (hertz[2:, None] - at) / (hertz[2:] - hertz[1:-1])[:, None]
    return np.asarray(np.maximum(0, np.minimum(rise, fall)), np.float32)


class Ear(nn.Module):
    """Pictures of levels (N, 1, BANDS, STEPS) → feature maps (N, 256, BANDS / 16, STEPS / 16)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for channels in CHANNELS:
            layers += [nn.Conv2d(before, channels, 3, 2, 1), nn.GroupNorm(8, channels), nn.ReLU()]
            before = channels
        self.layers = nn.Sequential(*layers)
        self.width = before
        self.summed = before * BANDS // 2 ** len(CHANNELS)

    def forward(self, pictures: Tensor) -> Tensor:
        """Feature maps."""
        out: Tensor = self.layers(pictures)
        return out

    def summary(self, pictures: Tensor) -> Tensor:
        """(N, 1024) the largest of each feature in each band over all times.

        When something is heard doesn't count, as events are short; how high it sounds does.
        """
        out: Tensor = self(pictures).amax(3).flatten(1)
        return out
