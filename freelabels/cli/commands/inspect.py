"""`freelabels inspect`: what a dataset holds, as a table, a picture, a page or a 3D recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.terminal import DONE, note, reporter
from freelabels.ground.errors import UserError
from freelabels.ground.spelling import counted

if TYPE_CHECKING:
    from freelabels.pipeline.viewer.frame_map import FrameFeatures


def inspect(
    dataset: Positional[str],
    /,
    *,
    json: bool = False,
    picture: str | None = None,
    frames: int = 10,
    fields: tuple[str, ...] = (),
    scenes: str | None = None,
    html: str | None = None,
    serve: bool = False,
    port: int = 8707,
    map_run: str | None = None,
    beside: str | None = None,
    page_frames: int = 24,
    measured_clips: int = 4,
    verify: bool = False,
    paths: bool = False,
    rerun: str | None = None,
    duplicates: str | None = None,
    workers: int = 0,
) -> int:
    """Show what a dataset holds: sources, fields, coverage, confidence, provenance, failures.

    Args:
        dataset: Folder or address (s3://bucket/path) of a dataset.
        json: Print the figures as JSON.
        picture: Draw a contact sheet with every label beside its frame into this PNG.
        frames: How many frames the contact sheet shows.
        fields: Which labels the contact sheet shows, default all.
        scenes: Write the scene of every rendered clip into this folder, for render --scene.
        html: Write a page with figures and a sample of frames into this file; it needs nothing beyond itself.
        serve: Show the same page with every frame at http://127.0.0.1 until Ctrl-C.
        port: Port of --serve; 0 takes any free one.
        map_run: Map the frames of --serve also by what the backbone of this run (--out of train) sees in them.
        beside: A second dataset (renders beside real frames), for --html and --serve.
        page_frames: How many frames of a dataset --html shows.
        measured_clips: On how many rendered clips --html measures the detectors against exact truth.
        verify: Read every byte again for --html and --serve, as freelabels verify does.
        paths: Keep this machine's whole paths on the page of --html; else of each its last folder and its name.
        rerun: Write clips in 3D with cameras, images, depth and labels into this .rrd file, for the Rerun viewer.
        duplicates: Look for frames of different sources that show the same picture, and list all but the first of
            each in this file, for train --loader.exclude.
        workers: Processes that read the records which no run has remembered; 0: this one alone.
    """
    datasets = [dataset, *([beside] if beside else [])]
    if beside and not (serve or html):
        raise UserError("--beside shows two datasets on one page: give --html FILE or --serve too")
    if map_run and not serve:
        raise UserError("--map-run maps the frames of the served page: give --serve too")
    if serve:
        from freelabels.pipeline.viewer.serve import serve as run_server

        run_server(datasets, port, reporter().say, verify=verify, seen=_seen(map_run))
        return DONE
    _print(dataset, json, workers)
    if picture is not None:
        from freelabels.pipeline.viewer.contact_sheet import draw_contact_sheet

        note(f"contact sheet: {draw_contact_sheet(dataset, picture, frames=frames, fields=fields)}")
    if scenes is not None:
        from freelabels.pipeline.viewer.inspect import write_scenes

        note(f"{counted(write_scenes(dataset, scenes), 'scene')} written to {scenes}")
    if html is not None:
        from freelabels.pipeline.viewer.page import write_html

        verified = [freelabels.verify(path) for path in datasets] if verify else []
        page = write_html(
            datasets, html, frames=page_frames, clips=measured_clips, verified=verified, places=paths
        )
        note(f"page: {page}")
    if rerun is not None:
        from freelabels.pipeline.viewer.rerun_export import write_rerun

        note(f"rerun: {write_rerun(dataset, rerun)}")
    if duplicates is not None:
        note(_duplicates(dataset, duplicates))
    return DONE


def _seen(run: str | None) -> FrameFeatures | None:
    """What frames are mapped by."""
    if run is None:
        return None
    from freelabels.train.frame_features import frame_features

    return frame_features(run)


def _duplicates(dataset: str, target: str) -> str:
    """Write the list of frames that show the same as another before them; returns a sentence."""
    from pathlib import Path

    from freelabels.pipeline.quality.duplicates import duplicates as find
    from freelabels.pipeline.shards.dataset import Dataset
    from freelabels.pipeline.shards.exclusions import exclusions_json

    found = find(Dataset(dataset))
    try:
        Path(target).write_text(exclusions_json(found.spare))
    except OSError as error:
        raise UserError(f"can't write {target} ({error.strerror})") from error
    many = sum(map(len, found.groups))
    return (
        f"{many} of {found.frames} frames show the same as another, in {counted(len(found.groups), 'group')}; "
        f"all but the first of each are listed in {target}; {found.flat} have no detail to tell by"
    )


def _print(dataset: str, json: bool, workers: int) -> None:
    """The figures of a dataset, for people or for machines."""
    from rich.console import Console

    from freelabels.pipeline.viewer.inspect import print_table
    from freelabels.pipeline.work.progress import print_json
    from freelabels.pipeline.work.runner import Cluster

    figures = freelabels.inspect(dataset, Cluster(workers))
    if json:
        print_json(figures)
    else:
        print_table(figures, Console())
