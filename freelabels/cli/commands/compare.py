"""`freelabels compare`: two labellings of a field, frame by frame."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.options import configured
from freelabels.cli.shell.terminal import DONE, FAILED, note, say
from freelabels.ground.errors import UserError
from freelabels.ground.spelling import counted

if TYPE_CHECKING:
    from freelabels.pipeline.quality.compare import Comparison

LISTED = 10  # frames


def compare(
    a: Positional[str],
    b: Positional[str],
    /,
    *,
    field: str,
    max_difference: float | None = None,
    html: str | None = None,
    page_frames: int = 24,
    frames: int = 0,
    set: tuple[str, ...] = (),
    paths: bool = False,
    json: bool = False,
) -> int:
    """Compare a field of two datasets, or of a dataset with what a detector makes of its frames.

    Args:
        a: A dataset, or a detector that makes the field: it runs on the stored frames of the other side.
        b: The same.
        field: What to compare, by its own measure: angle of normals, end-point error of flow, AbsRel of depth,
            1 - IoU of masks, 1 - F of edges. 0 is the same.
        max_difference: Exit with status 1 if the difference over all frames is larger; for CI.
        html: Write a page into this file: both side by side with a map of their difference, and a table.
        page_frames: How many of the frames that differ most --html shows.
        frames: About how many frames are compared, spread evenly; 0 all.
        set: Parameters of the detector, as NAME.PARAMETER=VALUE.
        paths: Keep this machine's whole paths on the page of --html; else of each its last folder and its name.
        json: Print everything as one JSON document.
    """
    if max_difference is not None and not (max_difference >= 0 and math.isfinite(max_difference)):
        raise UserError(f"--max-difference is a number from 0 on, not {max_difference}")
    for option, value in (("--frames", frames), ("--page-frames", page_frames)):
        if value < 0:
            raise UserError(f"{option} can't be negative, not {value}")
    detectors = configured(set)
    found = freelabels.compare(
        a, b, field, frames=frames, keep=page_frames if html else 0, configured=detectors
    )
    failed = max_difference is not None and found.exceeds(max_difference)
    if html is not None:
        from freelabels.pipeline.viewer.comparison_page import write_comparison

        note(f"page: {write_comparison(found, html, most=max_difference, places=paths)}")
    if json:
        from freelabels.pipeline.work.progress import print_json

        print_json(dataclasses.asdict(dataclasses.replace(found, worst=())))
    else:
        _print(found)
    if failed:
        note(f"freelabels: the difference is more than --max-difference {max_difference:g}")
    return FAILED if failed else DONE


def _print(found: Comparison) -> None:
    """What differs most, and all together."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for k, heading in enumerate(
        ("source", "frame", found.measure, "both", "A alone", "B alone", "conf. A", "B")
    ):
        table.add_column(heading, justify="right" if k else "left", overflow="fold")
    ranked = sorted(found.frames, key=lambda one: (one.difference is None, -(one.difference or 0)))
    for one in ranked[:LISTED]:
        shares = [f"{share:.1%}" for share in (one.compared, one.only_a, one.only_b)]
        trust = ["" if value is None else f"{value:.2f}" for value in (one.confidence_a, one.confidence_b)]
        place = "/".join(one.source.replace("\\", "/").split("/")[-2:])  # the rest is the same for most
        cells = [place, str(one.frame), _said(one.difference, found.unit), *shares, *trust]
        table.add_row(*map(Text, cells))
    Console().print(table)
    more = len(ranked) - LISTED
    if more > 0:
        say(f"… and {counted(more, 'frame')} of less difference; --json lists all")
    say(
        f"{found.field} of {counted(len(found.frames), 'frame')}: "
        f"{found.measure} {_said(found.difference, found.unit)}; "
        f"of the pixels {found.compared:.1%} are labelled by both, {found.only_a:.1%} by A alone, "
        f"{found.only_b:.1%} by B alone"
    )
    if found.frames_only_a or found.frames_only_b:
        say(
            f"in A alone: {counted(found.frames_only_a, 'frame')}, "
            f"in B alone: {counted(found.frames_only_b, 'frame')}"
        )


def _said(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:.4g}{'' if unit == '°' else ' '}{unit}".rstrip()
