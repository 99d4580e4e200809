"""Synthetic images in the colours and light of real ones."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from freelabels.train.data.windows import SYNTHETIC
from freelabels.train.objective.adversaries.base import Adversary


class FourierSwap(Adversary):
    """Synthetic images take the low-frequency amplitudes of real ones. Yang and Soatto, FDA, 2020."""

    def images(self, image: Tensor, domain: Tensor) -> Tensor:
        """Real images untouched; each synthetic one with the amplitudes of a real one of the batch."""
        synthetic, real = (domain == SYNTHETIC).nonzero()[:, 0], (domain != SYNTHETIC).nonzero()[:, 0]
        if not self.training or not len(real) or not len(synthetic):
            return image
        out = image.float()
        partner = real[torch.arange(len(synthetic), device=real.device) % len(real)]
        swapped = swap_amplitudes(out[synthetic], out[partner], self.config.band)
        return out.index_copy(0, synthetic, swapped.clamp(0, 255))


def swap_amplitudes(content: Tensor, style: Tensor, band: float) -> Tensor:
    """`content` (N, 3, H, W) with the amplitudes of `style` at frequencies within `band` of zero."""
    height, width = content.shape[-2:]
    spectrum, other = torch.fft.fft2(content), torch.fft.fft2(style)
    low_y = torch.fft.fftfreq(height, device=content.device).abs() <= band
    low_x = torch.fft.fftfreq(width, device=content.device).abs() <= band
    low = low_y[:, None] & low_x[None]
    amplitude = torch.where(low, other.abs(), spectrum.abs())
    return cast(Tensor, torch.fft.ifft2(torch.polar(amplitude, spectrum.angle())).real)
