"""`freelabels fields`: what a dataset may hold, with its type, shape, unit and what makes it."""

from __future__ import annotations

import dataclasses
import json as json_format

from tyro.conf import Positional

from freelabels.cli.shell.terminal import DONE, say


def fields(name: Positional[str] = "", /, *, json: bool = False) -> int:
    """List the fields that a dataset may hold: type, shape, unit, invalid value, meaning, and what makes each.

    Args:
        name: One field, described in full.
        json: Print it as one JSON document.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from freelabels.generators.contract.overview import field_facts

    found = field_facts(name)
    if json:
        say(json_format.dumps([dataclasses.asdict(one) for one in found]))
        return DONE
    if name:
        for key, value in dataclasses.asdict(found[0]).items():
            if value not in ("", ()):
                say(f"{key}: {', '.join(value) if isinstance(value, tuple) else value}")
        return DONE
    table = Table("field", "type", "unit", "meaning", "detectors")
    for one in found:
        makers = ", ".join(one.detectors) + (f" ({one.plugin})" if one.plugin else "")
        table.add_row(
            *map(Text, [one.name, f"{one.dtype} ({', '.join(one.shape)})", one.unit, one.meaning, makers])
        )
    for column in table.columns:
        column.overflow = "fold"
    Console().print(table)
    say("A label per pixel has LABEL_confidence beside it. Renders hold more than detectors make.")
    return DONE
