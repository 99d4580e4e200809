"""The rows of the table, by name: what is learned from what, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from freelabels.ground.errors import UserError
from freelabels.ground.spelling import nearest

PHOTOS, REAL, RENDERS = "photos", "real", "renders"


@dataclass(frozen=True)
class Row:
    """What a row of the table is of.

    about: what it is, for a reader of the table. data: of `PHOTOS` (pictures alone), `REAL` (labelled ones) and
    `RENDERS`. tasks: what is learned; free: also all default tasks whose labels the data have. set: parameters of
    tasks. adversary, robust: as `TrainConfig` has them. second: tasks of a short last phase on pictures alone,
    which begins from the trunk of the first and takes `share` of all pixels, so that deep stages, of which heads
    on maps ask little, are asked for something. laterals: as `ModelConfig` has it. kept: share of the clips that
    are learned from, of those that are not held out; smaller shares are parts of larger ones.
    """

    about: str
    data: tuple[str, ...] = (PHOTOS,)
    tasks: tuple[str, ...] = ()
    free: bool = False
    set: tuple[str, ...] = ()
    adversary: str = "none"
    robust: str = "confidence"
    second: tuple[str, ...] = ()
    share: float = 0.2
    laterals: int = 0
    kept: float = 1.0

    @property
    def learns(self) -> bool:
        """Whether anything is learned."""
        return self.free or bool(self.tasks)


BOTH = (REAL, RENDERS)
ADVERSARY = "reversal"


def _single(name: str) -> Row:
    return Row(f"{name} alone, real and rendered", BOTH, (name,))


ROWS: Mapping[str, Row] = {
    "random": Row("new weights, batch statistics of the pictures"),
    "supervised": Row("the pictures' own classes", tasks=("tags",), set=("tags.doubt=0",)),
    "rotation": Row("by which quarter turn", tasks=("rotation",)),
    "jigsaw": Row("tiles in which order", tasks=("jigsaw",)),
    "clusters": Row("clusters of its own features", tasks=("deep_cluster",)),
    "contrast": Row("two views are one picture (SimCLR)", tasks=("simclr",)),
    "masked": Row("what hidden patches show (SimMIM's form of MAE)", tasks=("masked",)),
    **{name: _single(name) for name in ("edges", "motion", "disparity", "depth", "normals", "contours")},
    "real": Row("free labels of real pictures", (REAL,), free=True),
    "renders": Row("free labels of renders", (RENDERS,), free=True),
    "renders_tenth": Row("free labels of a tenth of the renders", (RENDERS,), free=True, kept=0.1),
    "renders_hundredth": Row("free labels of a hundredth of the renders", (RENDERS,), free=True, kept=0.01),
    "both": Row("free labels of both", BOTH, free=True),
    "plain": Row("free labels of both, every label trusted alike", BOTH, free=True, robust="plain"),
    "free": Row("free labels of both, and an adversary", BOTH, free=True, adversary=ADVERSARY),
    "free_rotation": Row("free, and rotation", BOTH, ("rotation",), True, adversary=ADVERSARY),
    "free_clusters": Row("free, and clusters", BOTH, ("deep_cluster",), True, adversary=ADVERSARY),
    "free_contrast": Row("free, and contrast", BOTH, ("simclr",), True, adversary=ADVERSARY),
    "renders_then_contrast": Row(
        "free labels of renders, the last fifth of the pixels contrast",
        (RENDERS,),
        free=True,
        second=("simclr",),
    ),
    "renders_deep": Row(
        "free labels of renders, read from the two deepest stages", (RENDERS,), free=True, laterals=2
    ),
}


def row_of(name: str, tasks: Mapping[str, object]) -> Row:
    """A row of the registry, or a task by itself on pictures. Raises UserError for an unknown name."""
    if name in ROWS:
        return ROWS[name]
    if name in tasks:
        return Row(f"the task {name}", tasks=(name,))
    raise UserError(f"--rows {name}: {nearest(name, list(dict.fromkeys([*ROWS, *tasks])))}")
