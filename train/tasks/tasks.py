"""The tasks by name, and which of them a run learns.

Adding a task = one entry in `BUILT_IN`, or an entry point in the group ``freelabels.tasks``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from freelabels.generators.contract.fields import field
from freelabels.ground.errors import UserError
from freelabels.ground.plugins import with_plugins
from freelabels.ground.spelling import nearest
from freelabels.train.tasks.built_in import BUILT_IN
from freelabels.train.tasks.task import Task

DEFAULT = ("edges", "motion", "disparity", "depth", "normals", "contours")


@cache
def tasks() -> Mapping[str, Task]:
    """All known tasks by name: the built-in ones and those of installed plug-ins."""
    return with_plugins(BUILT_IN, "freelabels.tasks")


def choose(
    wanted: Sequence[str], has: Callable[[str], bool], names: Mapping[str, tuple[str, ...]], frames: int
) -> dict[str, Task]:
    """The tasks asked for, or, if none is, those of `DEFAULT` whose fields the data `has`.

    names: tables of names by field. Raises UserError for an unknown task, a field that no shard holds, and a
    task between frames in windows of one.
    """
    if not wanted:
        wanted = [name for name in DEFAULT if all(has(f) for f in tasks()[name].reads)]
        if not wanted:
            raise UserError(f"no shard holds a label to learn from; the usual ones are {', '.join(DEFAULT)}")
    chosen: dict[str, Task] = {}
    for name in wanted:
        if name not in tasks():
            raise UserError(f"--tasks {name}: {nearest(name, tasks())}")
        task = tasks()[name]
        for column in task.reads:
            if not has(column):
                raise UserError(f"the task {name} needs the field {column}, which no given shard holds")
        if task.pair and frames < 2:
            raise UserError(f"the task {name} looks at two frames; give --loader.frames 2")
        if task.channels is None:
            table = names.get(task.reads[0]) or field(task.reads[0]).names
            if not table:
                raise UserError(
                    f"the field {task.reads[0]} has no table of names, so {name} can't be learned"
                )
            task = replace(task, channels=len(table))
        chosen[name] = task
    return chosen
