"""`freelabels detectors`: what makes labels of real frames, from what, and with which parameters."""

from __future__ import annotations

import dataclasses
import json as json_format
from typing import TYPE_CHECKING

from tyro.conf import Positional

from freelabels.cli.shell.terminal import DONE, say

if TYPE_CHECKING:
    from freelabels.generators.contract.overview import DetectorFacts


def detectors(name: Positional[str] = "", /, *, json: bool = False) -> int:
    """List the detectors that label can run: what each makes and needs, its parameters with their ranges.

    Args:
        name: One detector, described in full.
        json: Print it as one JSON document.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from freelabels.generators.contract.overview import detector_facts

    found = detector_facts(name)
    if json:
        say(json_format.dumps([dataclasses.asdict(one) for one in found]))
        return DONE
    if name:
        for line in _described(found[0]):
            say(line)
        return DONE
    table = Table(
        "detector", "makes", "needs", "parameters", *(["from"] if any(o.plugin for o in found) else [])
    )
    for one in found:
        settings = [f"{p.name}={p.default}" for p in one.parameters]
        cells = [one.name, ", ".join(one.makes), ", ".join(one.needs) or "single frames", ", ".join(settings)]
        table.add_row(*map(Text, [*cells, *([one.plugin] if len(table.columns) > len(cells) else [])]))
    for column in table.columns:
        column.overflow = "fold"
    Console().print(table)
    say("The first that a source can feed makes a label; --detector LABEL=NAME chooses another.")
    return DONE


def _described(one: DetectorFacts) -> list[str]:
    """All that is known of a detector, as text."""
    lines = [
        f"{one.name}, version {one.version}" + (f", from {one.plugin}" if one.plugin else ""),
        "",
        one.about,
        "",
    ]
    lines += [f"makes {', '.join(one.makes)}", f"needs {', '.join(one.needs) or 'single frames'}"]
    lines += [f"uses {', '.join(one.uses)}"] if one.uses else []
    for p in one.parameters:
        limits = f", {p.range}" if p.range else ""
        lines.append(f"--set {one.name}.{p.name}={p.default}  ({p.type}{limits})")
    return lines
