"""The domain adversaries by name: what is added to the tasks so that features of both domains look alike.

One interface: `Adversary.images` may change the batch's images, `Adversary.forward` gives one scalar loss that is
added to the tasks' and minimised by the same optimiser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from freelabels.ground.errors import UserError
from freelabels.ground.spelling import nearest
from freelabels.train.config import AdversaryConfig
from freelabels.train.objective.adversaries.base import Adversary, NoAdversary
from freelabels.train.objective.adversaries.discrepancy import Coral, MaximumMeanDiscrepancy
from freelabels.train.objective.adversaries.fourier import FourierSwap
from freelabels.train.objective.adversaries.least_squares import LeastSquares
from freelabels.train.objective.adversaries.refiner import Refined
from freelabels.train.objective.adversaries.reversal import Conditional, MultiLevel, Reversal
from freelabels.train.objective.adversaries.ridge import Ridge

ADVERSARIES: dict[str, type[Adversary]] = {
    "none": NoAdversary,
    "reversal": Reversal,
    "lsgan": LeastSquares,
    "multilevel": MultiLevel,
    "cdan": Conditional,
    "ridge": Ridge,
    "coral": Coral,
    "mmd": MaximumMeanDiscrepancy,
    "fourier": FourierSwap,
    "refiner": Refined,
}


def adversary_called(name: str) -> type[Adversary]:
    """The kind called `name`. Raises UserError if there is none."""
    if name not in ADVERSARIES:
        raise UserError(f"--adversary.name {name}: {nearest(name, ADVERSARIES)}")
    return ADVERSARIES[name]


def make_adversary(config: AdversaryConfig, channels: Sequence[int], outputs: Mapping[str, int]) -> Adversary:
    """The adversary called `config.name`. Raises UserError if there is none, or no such stage."""
    kind = adversary_called(config.name)
    if not -len(channels) <= config.stage < len(channels):
        raise UserError(f"--adversary.stage {config.stage}: the backbone has {len(channels)} stages")
    return kind(config, channels, outputs)
