"""Put a table of features into the documents: what `freelabels bench features` found, claims and all.

    python -m benchmarks.tools.features_page runs/features-64

docs/features.md gets everything, README.md the rows at their best stage and the claims, both between marks.

Cost: a second.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from benchmarks.tools.command import run
from freelabels.ground.errors import UserError
from freelabels.train.bench.report import JSON, MARKDOWN

BEGIN, END = "<!-- features: made by benchmarks.tools.features_page -->", "<!-- end of features -->"
SHOWN = ("nearest neighbours", "linear, ridge", "fine-tuned", "linear a pixel", "segmentation network")
SHARES = "of the labels"  # at the end of measures that docs/ alone shows


def main(
    table: Positional[str],
    /,
    *,
    docs: str = "docs/features.md",
    readme: str = "README.md",
) -> None:
    """Write both.

    Args:
        table: The folder --out of `freelabels bench features`.
        docs: The page that gets the whole table, one heading deeper.
        readme: The page that gets the short one.
    """
    folder = Path(table)
    try:
        found = json.loads((folder / JSON).read_text())
        whole, brief = (folder / MARKDOWN).read_text(), short(found)
    except (OSError, ValueError, KeyError) as error:  # tables made before there were claims lack them
        raise UserError(f"{folder} holds no finished table: run `freelabels bench features` first") from error
    deeper = "\n".join(f"#{line}" if line.startswith("#") else line for line in whole.splitlines())
    pages = {Path(docs): deeper, Path(readme): brief}
    written = {page: put(page, text) for page, text in pages.items()}  # both or none
    for page, text in written.items():
        page.write_text(text)


def short(found: Mapping[str, Any]) -> str:
    """A line a row, a column a measure: the mean at the best stage, ± half its interval; then the claims."""
    tables = [t for t in found["tables"] if t["measure"].startswith(SHOWN) or t["measure"].endswith(SHOWN)]
    tables = [t for t in tables if not t["measure"].endswith(SHARES)]
    settings = found["settings"]
    lines = [
        f"{settings['backbone']}, {settings['size']} px, {settings['budget']:g} megapixels a row, each at its "
        "best stage. ↓: lower is better.",
        "",
        "| row | seeds | " + " | ".join(_called(t) for t in tables) + " |",
        "|---|---:|" + "---:|" * len(tables),
    ]
    for name, facts in found["rows"].items():
        cells = " | ".join(_best(t, name) for t in tables)
        lines.append(f"| {name} | {facts['seeds']} | {cells} |")
    lines += ["", "| claim | | |", "|---|---|---|"]
    lines += [f"| {c['letter']} | {c['says']} | {c['state']} ({c['why']}) |" for c in found["claims"]]
    return "\n".join(lines)


def _called(table: Mapping[str, Any]) -> str:
    arrow = "" if table["higher_is_better"] else " ↓"
    return f"{table['data']}: {table['measure']} ({table['unit']}){arrow}"


def _best(table: Mapping[str, Any], row: str) -> str:
    """The best stage's figure, in the unit that the table shows."""
    sign = 1 if table["higher_is_better"] else -1
    figures = [f for f in table["rows"].get(row, ()) if f is not None and math.isfinite(f["mean"])]
    if not figures:
        return ""
    best = max(figures, key=lambda f: sign * f["mean"])
    shown = [best["mean"], *([] if best["interval"] is None else [best["interval"]])]
    return " ± ".join(f"{100 * x:.1f}" if table["unit"].startswith("%") else f"{x:.3g}" for x in shown)


def put(page: Path, text: str) -> str:
    """A page with another text between its marks. Raises UserError if it is not there or has none."""
    try:
        before, begin, rest = page.read_text().partition(BEGIN)
    except OSError as error:
        raise UserError(f"can't read {page} ({error.strerror})") from error
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{page}: has no lines {BEGIN!r} and {END!r} to write between")
    return f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}"


if __name__ == "__main__":
    run(main, __doc__)
