"""Removes from a dataset what nobody needs any more, and puts back or removes what repairs have set aside."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from freelabels.ground.errors import UserError
from freelabels.pipeline.curate.selection import Selection
from freelabels.pipeline.curate.transfer import Transfer, transfer
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.quarantine import SetAside, empty, in_quarantine
from freelabels.pipeline.shards.quarantine import restore as put_back
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.shards.splits import splits_of
from freelabels.pipeline.stages.gone import gone_clips, source_of


@dataclass(frozen=True)
class PruneSummary:
    """What was removed and what is there.

    leftovers: of dead writers, and revisions that newer ones have replaced. emptied: how much was removed from the
    quarantine; quarantine: what still lies there. restored: folder name of what was put back, or "". clips,
    frames: taken out because they were chosen, or, in a dry run, those that would be; sources: where these came
    from.
    """

    leftovers: int
    emptied: int
    quarantine: tuple[SetAside, ...]
    restored: str = ""
    clips: int = 0
    frames: int = 0
    sources: tuple[str, ...] = ()


def prune(
    path: str | os.PathLike[str],
    *,
    quarantine: bool = False,
    restore: str | None = None,
    selection: Selection | None = None,
    gone: bool = False,
    dry_run: bool = False,
) -> PruneSummary:
    """Remove what dead writers left, never what is young; look into the quarantine; take out clips.

    restore: name of what to put back from there, as the newest revision of its shard; done first. quarantine:
    remove for good what lies there. selection: clips to take out for good. gone: of these, or of all, only those
    whose source is no longer there. dry_run: take out nothing, and remove nothing. Raises NotADataset, or
    UserError if nothing of that name lies there, and where no source at all is there, as without a disk.
    """
    dataset = Dataset(path)
    _ = dataset.attributes  # raises NotADataset
    if selection is not None and selection.everything and not gone:
        raise UserError("say which clips to take out, by --clips, --listed, --where or --gone")
    try:
        chosen = list(_chosen(dataset, selection or Selection(), gone)) if selection or gone else []
        rows = [shard.clips[number]["rows"] for shard, numbers in chosen for number in numbers]
        summary = PruneSummary(
            *(0, 0, (), "", len(rows), sum(last - first for first, last in rows)),
            tuple(sorted({source_of(shard.clips[k]) for shard, numbers in chosen for k in numbers})),
        )
        if dry_run:
            return replace(summary, quarantine=tuple(in_quarantine(dataset)))
        restored = put_back(dataset, restore) if restore is not None else ""
        for shard, numbers in chosen:
            _take_out(dataset, shard, numbers)
        superseded = dataset.superseded()
        for name in superseded:
            dataset.storage.drop(name)
        leftovers = dataset.storage.sweep() + len(superseded)
        emptied = empty(dataset) if quarantine else 0
    except OSError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"can't write to {path} ({error.strerror}); see to that and run again") from error
    return replace(
        summary,
        leftovers=leftovers,
        emptied=emptied,
        quarantine=tuple(in_quarantine(dataset)),
        restored=restored,
    )


def _take_out(dataset: Dataset, shard: Shard, numbers: Sequence[int]) -> None:
    """Remove clips of a shard: what stays is committed as a shard of its own before this one goes."""
    left = tuple(k for k in range(len(shard.clips)) if k not in numbers)
    if left:
        transfer(Transfer(os.fspath(dataset.path), shard.name, left, os.fspath(dataset.path), shard.rows))
    dataset.storage.drop(shard.name)


def _chosen(dataset: Dataset, selection: Selection, gone: bool) -> Iterator[tuple[Shard, list[int]]]:
    """Shards with the numbers of the clips to take out. Raises UserError."""
    splits = splits_of(dataset)
    found, there = [], False
    for shard in dataset.open_all(dataset.shards()):
        numbers = selection.of_shard(shard, splits)
        if gone:
            missing = set(gone_clips(shard))
            there |= len(missing) < len(shard.clips)
            numbers = [number for number in numbers if number in missing]
        if numbers:
            found.append((shard, numbers))
        shard.close()
    if unmet := selection.unmet():
        raise UserError(f"no clip is called {unmet[0]!r}: give its key, content hash, or source")
    if gone and found and not there:
        raise UserError(
            f"none of the sources of {dataset.path} is there: is a disk not mounted? If they are gone for good, "
            "remove the folder"
        )
    return iter(found)
