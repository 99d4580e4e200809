"""The rows of the table, by name: what is learned from what, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from freelabels.ground.errors import UserError
from freelabels.ground.spelling import nearest

PHOTOS, REAL, RENDERS = "photos", "real", "renders"


@dataclass(frozen=True)
class Recipe:
    """One row.

    about: what it is, for a reader of the table. data: of `PHOTOS` (pictures alone), `REAL` (labelled ones) and
    `RENDERS`. tasks: what is learned; free: also all default tasks whose labels the data have. set: parameters of
    tasks. adversary, robust: as `TrainConfig` has them. second: tasks of a short last phase on pictures alone,
    which begins from the trunk of the first and takes `share` of all pixels, so that deep stages, of which heads
    on maps ask little, are asked for something. laterals: as `ModelConfig` has it.
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

    @property
    def learns(self) -> bool:
        """Whether anything is learned."""
        return self.free or bool(self.tasks)


BOTH = (REAL, RENDERS)
ADVERSARY = "reversal"


def _single(name: str) -> Recipe:
    return Recipe(f"{name} alone, real and rendered", BOTH, (name,))


RECIPES: Mapping[str, Recipe] = {
    "random": Recipe("new weights, batch statistics of the pictures"),
    "supervised": Recipe("the pictures' own classes", tasks=("tags",), set=("tags.doubt=0",)),
    "rotation": Recipe("by which quarter turn", tasks=("rotation",)),
    "jigsaw": Recipe("tiles in which order", tasks=("jigsaw",)),
    "clusters": Recipe("clusters of its own features", tasks=("deep_cluster",)),
    "contrast": Recipe("two views are one picture (SimCLR)", tasks=("simclr",)),
    "masked": Recipe("what hidden patches show (SimMIM's form of MAE)", tasks=("masked",)),
    **{name: _single(name) for name in ("edges", "motion", "disparity", "depth", "normals", "contours")},
    "real": Recipe("free labels of real pictures", (REAL,), free=True),
    "renders": Recipe("free labels of renders", (RENDERS,), free=True),
    "both": Recipe("free labels of both", BOTH, free=True),
    "plain": Recipe("free labels of both, every label trusted alike", BOTH, free=True, robust="plain"),
    "free": Recipe("free labels of both, and an adversary", BOTH, free=True, adversary=ADVERSARY),
    "free_rotation": Recipe("free, and rotation", BOTH, ("rotation",), True, adversary=ADVERSARY),
    "free_clusters": Recipe("free, and clusters", BOTH, ("deep_cluster",), True, adversary=ADVERSARY),
    "free_contrast": Recipe("free, and contrast", BOTH, ("simclr",), True, adversary=ADVERSARY),
    "renders_then_contrast": Recipe(
        "free labels of renders, the last fifth of the pixels contrast",
        (RENDERS,),
        free=True,
        second=("simclr",),
    ),
    "renders_deep": Recipe(
        "free labels of renders, read from the two deepest stages", (RENDERS,), free=True, laterals=2
    ),
}


def recipe_of(name: str, tasks: Mapping[str, object]) -> Recipe:
    """A row of the registry, or a task by itself on pictures. Raises UserError for an unknown name."""
    if name in RECIPES:
        return RECIPES[name]
    if name in tasks:
        return Recipe(f"the task {name}", tasks=(name,))
    raise UserError(f"--rows {name}: {nearest(name, [*RECIPES, *tasks])}")
