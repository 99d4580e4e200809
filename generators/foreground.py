"""Foreground: what belongs to a thing.

Of things, detectors have positive evidence alone: what moves by itself is one, and so is what stands out of a
photo. That something neither moves nor stands out says nothing, so the rest has no confidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from freelabels.generators.contract.calibration import calibrated
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import register
from freelabels.generators.contract.fields import Array


@register
@dataclass(frozen=True)
class MotionForeground:
    """Foreground of clips: what moves by itself, as far as `motion` is trusted. What doesn't move is left open."""

    name: ClassVar[str] = "motion_foreground"
    version: ClassVar[int] = 2
    makes: ClassVar[tuple[str, ...]] = ("foreground", "foreground_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({"motion", "motion_confidence"})

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        return _things(self.name, clip.labels["motion"], clip.labels["motion_confidence"])


@register
@dataclass(frozen=True)
class SalientForeground:
    """Foreground of photos: what stands out, as far as `saliency` is trusted. What doesn't is left open."""

    name: ClassVar[str] = "salient_foreground"
    version: ClassVar[int] = 1
    makes: ClassVar[tuple[str, ...]] = ("foreground", "foreground_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({"saliency", "saliency_confidence"})

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        return _things(self.name, clip.labels["saliency"], clip.labels["saliency_confidence"])


def _things(detector: str, evidence: Array, trust: Array) -> dict[str, Array]:
    """Foreground where `evidence` × 255 (T, H, W) says so, trusted as that is; no confidence in the rest."""
    yes = evidence > 127
    score = np.where(yes, trust / np.float32(255), 0)
    return {"foreground": evidence.copy(), "foreground_confidence": calibrated(detector, score, yes)}
