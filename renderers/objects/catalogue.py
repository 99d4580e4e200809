"""Every made class and its variants by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from freelabels.renderers.objects.fittings import FITTINGS
from freelabels.renderers.objects.furniture import FURNITURE
from freelabels.renderers.objects.household import HOUSEHOLD
from freelabels.renderers.objects.outdoors import OUTDOORS
from freelabels.renderers.objects.plants import PLANTS
from freelabels.renderers.objects.solids import Thing

VARIANTS = 24  # of each class; materials and size differ on top of that
MAKERS: Mapping[str, Callable[[np.random.Generator], Thing]] = {
    **FURNITURE,
    **FITTINGS,
    **HOUSEHOLD,
    **PLANTS,
    **OUTDOORS,
}


def variants(cls: str) -> Iterator[str]:
    """The names of all variants of a made class."""
    yield from (f"made/{cls}/{number:02d}" for number in range(VARIANTS))


def make(name: str) -> Thing:
    """The thing of that name; the same name is the same thing everywhere."""
    entropy = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    return MAKERS[name.split("/")[1]](np.random.default_rng(entropy))
