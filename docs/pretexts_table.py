"""Writes the tables of docs/pretexts.md anew: from what each task says of itself, and from what was measured.

python docs/pretexts_table.py [runs/pretexts]      the folder that python -m benchmarks.pretexts images has left
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from freelabels.train.tasks.contract.task import FAMILIES, Task
from freelabels.train.tasks.labelled import Labelled
from freelabels.train.tasks.overview import OPTIONS, TaskFacts
from freelabels.train.tasks.tasks import tasks

PAGE = Path(__file__).parent / "pretexts.md"
SMALLER = "Smaller than in the paper: "
BEGIN, END = "<!-- table: python docs/pretexts_table.py -->\n", "<!-- end of table -->\n"
FIGURES = "<!-- figures: python docs/pretexts_table.py runs/pretexts -->\n", "<!-- end of figures -->\n"
MEASURED = "table.md"  # as benchmarks/pretexts/images.py writes it


def table() -> str:
    """Markdown: a part a family, a row a task."""
    lines: list[str] = []
    for family in FAMILIES:
        rows = [task for task in tasks().values() if task.family == family and _told(task)]
        if rows:
            lines += [
                f"### {family.capitalize()}",
                "",
                "| task | system, paper | what it asks | what is smaller |",
            ]
            lines += ["|---|---|---|---|", *map(_row, rows)]
            lines += [_option(facts) for facts in OPTIONS if facts.family == family]
            lines.append("")
    return "\n".join(lines)


def _told(task: Task) -> bool:
    return bool(task.system) or not isinstance(task, Labelled)


def _row(task: Task) -> str:
    if isinstance(task, Labelled):
        what, smaller = f"The stored field {', '.join(task.reads)}.", ""
    else:
        about = re.sub(r"\s+", " ", type(task).__doc__ or "").strip()
        what, _, smaller = about.partition(SMALLER)
    first, _, more = what.strip().partition(". ")
    what = f"{first.rstrip('.')}. {more}".strip()
    smaller = smaller[:1].upper() + smaller[1:]
    system = f"**{task.system}.** " if task.system else ""
    return f"| `{task.name}` | {system}{task.paper} | {what} | {smaller} |"


def _option(facts: TaskFacts) -> str:
    flags = ", ".join(f"`{flag}`" for flag in facts.parameters)
    what, _, smaller = facts.about.partition(SMALLER)
    return f"| {flags} | **{facts.system}.** {facts.paper} | {what.strip()} | {smaller} |"


def written(page: str) -> str:
    """The page with the table as it is now."""
    return _between(page, (BEGIN, END), table())


def with_figures(page: str, measured: str) -> str:
    """The page with another table of figures."""
    return _between(page, FIGURES, measured)


def _between(page: str, marks: tuple[str, str], text: str) -> str:
    before, _, rest = page.partition(marks[0])
    return before + marks[0] + "\n" + text + "\n" + marks[1] + rest.partition(marks[1])[2]


if __name__ == "__main__":
    whole = written(PAGE.read_text())
    PAGE.write_text(
        with_figures(whole, (Path(sys.argv[1]) / MEASURED).read_text()) if sys.argv[1:] else whole
    )
