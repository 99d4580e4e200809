"""`freelabels tasks`: what can be learned, and whether given data can feed it."""

from __future__ import annotations

import dataclasses
import json as json_format

from tyro.conf import Positional

from freelabels.cli.shell.terminal import DONE, say


def tasks(datasets: Positional[tuple[str, ...]] = (), /, *, json: bool = False) -> int:
    """List the tasks that train can learn: what each is in the literature, what it needs, its parameters.

    Args:
        datasets: Datasets; with any, each task is followed by whether they can feed it.
        json: Print it as one JSON document.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from freelabels.train.tasks.overview import overview

    found = overview(datasets)
    if json:
        say(json_format.dumps([dataclasses.asdict(one) for one in found]))
        return DONE
    table = Table("task", "system", "family", "needs", "parameters", *(("can be fed",) if datasets else ()))
    for one in found:
        needs = [*one.fields, *([f"{one.frames} frames"] if one.frames > 1 else [])]
        settings = [f"{name}={value}" for name, value in one.parameters.items()]
        cells = [one.name + (" *" if one.default else ""), one.system, one.family]
        cells += [", ".join(needs) or "images", ", ".join(settings)]
        if one.hindrance is not None:
            cells.append(one.hindrance or "yes")
        table.add_row(*map(Text, cells))
    Console().print(table)
    say("* learned by default, as far as the data hold the field. Papers, and what each is: --json")
    return DONE
