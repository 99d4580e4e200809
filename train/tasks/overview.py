"""What tasks there are, what each is in the survey, and whether given data can feed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from freelabels.ground.errors import UserError
from freelabels.train.data.catalogue import Catalogue, by_domain, read_catalogue
from freelabels.train.tasks.contract.task import FAMILIES, Task
from freelabels.train.tasks.labelled import Labelled
from freelabels.train.tasks.tasks import DEFAULT, lacking, parameters, tasks


@dataclass(frozen=True)
class TaskFacts:
    """One task. hindrance: why the given data can't feed it, "" if they can, None if none were given."""

    name: str
    system: str
    family: str
    paper: str
    fields: tuple[str, ...]
    frames: int
    default: bool
    parameters: dict[str, Any]
    about: str
    hindrance: str | None = None


# Systems of the survey that are no task but a way to learn several.
OPTIONS = (
    TaskFacts(
        "--model.mix",
        "MultiTask",
        FAMILIES[1],
        "Doersch and Zisserman, Multi-task self-supervised visual learning, 2017",
        (),
        1,
        False,
        {"--model.mix": 0.0, "--model.grey": False},
        "Several tasks at once, each on a sparse mix of its own of the trunk's stages, all in grey. "
        "Smaller than in the paper: Stages, brought to one width by layers that tasks share, are mixed and not "
        "residual units; ranks go in step.",
    ),
)


def overview(datasets: Sequence[str] = ()) -> list[TaskFacts]:
    """All tasks and what else is a system, and with datasets whether these can feed them.

    Raises UserError for what is no dataset.
    """
    sides = by_domain(datasets) if datasets else None
    catalogues: dict[int, Catalogue | str] = {}
    facts = []
    for task in tasks().values():
        frames, hindrance = task.needs.shared, None
        if sides is not None:
            if frames not in catalogues:
                catalogues[frames] = _catalogue(*sides, frames)
            found = catalogues[frames]
            hindrance = (
                found
                if isinstance(found, str)
                else lacking(task, found.has, found.names, frames, found.longest)
            )
        facts.append(_facts(task, hindrance))
    return facts + [replace(option, hindrance="" if datasets else None) for option in OPTIONS]


def _catalogue(real: Sequence[str], synthetic: Sequence[str], frames: int) -> Catalogue | str:
    """What the data hold in windows of that many frames, or why there are none."""
    try:
        return read_catalogue(real, synthetic, frames)
    except UserError as error:
        if frames == 1:
            raise
        return str(error)


def _facts(task: Task, hindrance: str | None) -> TaskFacts:
    about = (type(task).__doc__ or "").split("\n\n")[0].strip()
    if isinstance(task, Labelled):
        about = f"The stored field {', '.join(task.reads)}." if task.reads else "A changed image's class."
    return TaskFacts(
        task.name,
        task.system,
        task.family,
        task.paper,
        task.needs.fields,
        max(task.needs.frames, task.needs.shared),
        task.name in DEFAULT,
        parameters(task),
        about,
        hindrance,
    )
