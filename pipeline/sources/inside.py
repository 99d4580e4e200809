"""An archive → the items in it: its folders are grouped like any others, a Parquet table row by row."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from freelabels.pipeline.media.formats import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from freelabels.pipeline.sources.layouts.family import NUMBERS
from freelabels.pipeline.sources.layouts.grouping import Folders, Item, Passed, group, notes_of, suffix_of
from freelabels.pipeline.sources.layouts.notes import is_text
from freelabels.pipeline.sources.layouts.series import MAX_SEQUENCE
from freelabels.pipeline.sources.layouts.texts import is_about_one
from freelabels.pipeline.sources.said import Refusal, Uncounted
from freelabels.pipeline.storage.archives.directory import Archive
from freelabels.pipeline.storage.archives.names import MARK, is_archive
from freelabels.pipeline.storage.archives.parquet import Parquet
from freelabels.pipeline.storage.uris import SourceError, archive, why

EPISODE, TIME = (
    "episode_index",
    "timestamp",
)  # columns of frames that follow each other, as LeRobot names them
STORES = ("/zarr.json", "/.zgroup")  # what makes a folder a store of arrays


def is_read(name: str) -> bool:
    """Whether a file is a picture, a video, an array or a text beside them, by its suffix."""
    suffix = suffix_of(name)
    known = suffix in IMAGE_SUFFIXES or suffix in VIDEO_SUFFIXES or suffix in NUMBERS
    return known or is_text(name) or is_about_one(name)


def items_in(path: str, stamp: str, uncounted: Uncounted) -> Iterator[Item | Refusal | Passed]:
    """The items in the archive at `path` (or URI), ordered by the first of their files' names.

    uncounted: where files are counted that nothing reads.
    """
    try:
        opened = archive(path)
        if isinstance(opened, Parquet):
            yield from _rows(path, stamp, opened, uncounted)
        else:
            yield from _files(path, stamp, opened, uncounted)
    except (SourceError, OSError) as error:
        yield Refusal(path, why(error))


def _files(path: str, stamp: str, opened: Archive, uncounted: Uncounted) -> Iterator[Item | Refusal | Passed]:
    """Of a tar or zip."""
    inside = f"{path}{MARK[0]}"
    if opened.fault:
        yield Refusal(path, opened.fault)
    for reason, (count, first) in opened.passed.items():
        yield Passed(inside, reason, count, first)
    stores = {name.rpartition("/")[0] for name in opened.names if f"/{name}".endswith(STORES)}
    folders: Folders = {}
    for name in opened.names:
        folder, _, last = name.rpartition("/")
        if stores and any(name.startswith(f"{store}/" if store else "") for store in stores):
            uncounted.add(f"{inside}/{name}", "parts of zarr stores, not pictures")
        elif is_archive(name):
            uncounted.add(f"{inside}/{name}", "archives inside an archive")
        elif is_read(name):
            folders.setdefault(f"{inside}/{folder}" if folder else inside, {})[last] = stamp
        else:
            uncounted.add(f"{inside}/{name}")
    notes = {folder: notes_of(files) for folder, files in folders.items()}
    found = list(group(folders, notes, [inside]))
    yield from (one for one in found if isinstance(one, Passed))
    items = [one for one in found if isinstance(one, Item)]
    yield from sorted(items, key=lambda item: (min(item.uris), item.uris, item.kind))
    if not found and not opened.fault:
        yield Passed(
            path.rpartition("/")[0], "an archive without a photo or video", 1, path.rpartition("/")[2]
        )


def _rows(path: str, stamp: str, table: Parquet, uncounted: Uncounted) -> Iterator[Item | Passed]:
    """Of a Parquet table: a photo or video a row, or, where it tells of episodes, their frames."""
    if not table.pictures or not table.rows:
        uncounted.add(path, "Parquet tables without a column of pictures")
        return
    inside = f"{path}{MARK}"
    for column in sorted(table.pictures):
        names = [f"{inside}{table.name(column, row)}" for row in range(table.rows)]
        if table.pictures[column] in VIDEO_SUFFIXES or EPISODE not in table.columns:
            kind = "video" if table.pictures[column] in VIDEO_SUFFIXES else "image"
            yield from (Item(kind, (name,), stamp) for name in names)
            continue
        times = table.all_of(TIME) if TIME in table.columns else []
        episodes = table.all_of(EPISODE)
        for _, rows in groupby(range(table.rows), key=lambda row: episodes[row]):
            frames = list(rows)
            for start in range(0, len(frames), MAX_SEQUENCE):
                piece = frames[start : start + MAX_SEQUENCE]
                seconds = tuple(float(times[row]) for row in piece if times and times[row] is not None)
                yield Item(
                    "sequence" if len(piece) > 1 else "image",
                    tuple(names[row] for row in piece),
                    stamp,
                    times=seconds if len(seconds) == len(piece) else (),
                    least=2,
                )
