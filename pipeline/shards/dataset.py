"""A dataset: its shards, its own record, and the small files beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from freelabels.ground.errors import CorruptShard, MissingFile, UserError
from freelabels.ground.faults import reached
from freelabels.pipeline.shards.record import digest, layout_of, seal, unseal_dataset
from freelabels.pipeline.shards.shard import Shard, revision_of
from freelabels.pipeline.shards.tags import Tag, tags_in
from freelabels.pipeline.storage.file_cache import FileCache
from freelabels.pipeline.storage.interface import Storage
from freelabels.pipeline.storage.layouts import FOLDERS, LAYOUTS, PACKED, open_place, usual_layout
from freelabels.pipeline.storage.local import QUARANTINE, RECORD, LocalStorage
from freelabels.pipeline.storage.object_store import ObjectStorage
from freelabels.pipeline.storage.packed import PACKS
from freelabels.pipeline.storage.uris import is_remote

RECORDS_AT_A_TIME = 256  # read ahead when all shards are gone through
SCAN_CACHE, INDEX = ".sources", ".index"  # folders
OLD_INDEX = ".index.npz"  # of versions up to 0.1.0
LOGS = ("rejected.jsonl", "failures.jsonl", SCAN_CACHE, INDEX, OLD_INDEX, QUARANTINE)
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)  # how a file that is not there is refused
_HOW_TO_MEND = "freelabels verify --repair {} writes it anew from its shards"


class NotADataset(UserError):
    """A folder that holds something other than a Freelabels dataset."""


@dataclass(frozen=True)
class DatasetFile:
    """A small file beside the shards of a dataset, replaced as a whole."""

    dataset: Dataset
    name: str

    def exists(self) -> bool:
        """Whether it is there."""
        return self.dataset.storage.exists(self.name)

    def read_bytes(self) -> bytes:
        """What it holds. Raises FileNotFoundError."""
        return self.dataset.storage.read(self.name)

    def read_text(self, errors: str = "strict") -> str:
        """Its text. Raises FileNotFoundError."""
        return self.read_bytes().decode(errors=errors)

    def write_text(self, text: str) -> None:
        """Put it, or replace it as a whole."""
        self.dataset.storage.write(self.name, text.encode())

    def write_lines(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Put it, or replace it as a whole, with a JSON line per entry."""
        self.write_text("".join(json.dumps(entry) + "\n" for entry in entries))

    def __str__(self) -> str:
        return f"{os.fspath(self.dataset.path).rstrip('/')}/{self.name}"


@dataclass(frozen=True)
class Dataset:
    """A folder of shards, or a prefix of an object store (``s3://bucket/path``).

    cache: where copies of an object store's columns are kept for reading again.
    """

    path: str | os.PathLike[str]
    cache: FileCache | None = None

    @cached_property
    def place(self) -> LocalStorage | ObjectStorage:
        """The folder or the store that it lies in."""
        return open_place(self.path, self.cache)

    @cached_property
    def layout(self) -> str:
        """How the shards are laid down there, a key of `LAYOUTS`; if the dataset doesn't tell, what is seen."""
        try:
            layout = layout_of(self.attributes)
            return layout if layout in LAYOUTS else FOLDERS
        except UserError:
            return self._layout_seen()

    def _layout_seen(self) -> str:
        return PACKED if self.place.files(PACKS) else FOLDERS

    @cached_property
    def storage(self) -> Storage:
        """Where the shards lie."""
        return LAYOUTS[self.layout](self.place)

    @staticmethod
    def create(
        path: str | os.PathLike[str], attributes: Mapping[str, Any], layout: str | None = None
    ) -> Dataset:
        """Open the dataset at `path`, or begin one with `attributes` that hold for all its shards.

        layout: a key of `LAYOUTS`; None: as it was begun, or what is usual at such a path. Raises NotADataset if
        the folder holds something else, UserError if it was begun with others.
        """
        if layout is not None and layout not in LAYOUTS:
            raise UserError(f"--layout is one of {', '.join(LAYOUTS)}, not {layout!r}")
        dataset = Dataset(path)
        place = dataset.place
        if not place.exists(RECORD):
            # Looked for again after the look around: another driver may have begun it in between.
            besides = LOGS if place.files(PACKS) else (*LOGS, PACKS)  # folders that held packs once
            if not place.vacant(besides) and not place.exists(RECORD):
                if dataset.shards_if_any():
                    raise NotADataset(f"{path} holds shards but no {RECORD}; {_HOW_TO_MEND.format(path)}")
                raise NotADataset(f"{path} holds something else; name an empty or a new folder with --out")
            chosen = layout or usual_layout(path)
            place.begin(RECORD, seal(attributes if chosen == FOLDERS else {**attributes, "layout": chosen}))
        have = {"layout": layout_of(dataset.attributes), **dataset.attributes}
        for name, value in (attributes if layout is None else {**attributes, "layout": layout}).items():
            if have.get(name) != value:
                raise UserError(
                    f"{path} was begun with {name} {have.get(name)}, not {value}: use that, or another --out"
                )
        return dataset

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """What holds for all shards.

        Raises NotADataset if the folder is not a dataset, or no longer tells; NewerSchema if a newer version began
        it; UserError if its record can't be asked for now.
        """
        try:
            attributes = unseal_dataset(f"{self.path}/{RECORD}", self.place.read(RECORD))
        except UserError:  # an object store that can't be asked
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, OSError) and not isinstance(error, ABSENT):
                raise UserError(
                    f"{self.path}/{RECORD} can't be read ({error.strerror}); see to that and run again"
                ) from error
            how = (
                f"; {_HOW_TO_MEND.format(self.path)}"
                if self.shards_if_any()
                else _besides(os.fspath(self.path))
            )
            raise NotADataset(
                f"{self.path} is not a Freelabels dataset: it has no {RECORD} of one{how}"
            ) from error
        if attributes is None:
            raise NotADataset(
                f"{self.path}: its {RECORD} does not match its checksum; {_HOW_TO_MEND.format(self.path)}"
            )
        return attributes

    def shards_if_any(self) -> list[str]:
        """As `shards`, whatever the dataset's record says; none where there is no folder to look into."""
        try:
            return sorted(_revisions(LAYOUTS[self._layout_seen()](self.place).folders())[0])
        except OSError:
            return []

    def mend(self) -> None:
        """Write the dataset's own record anew from the first shard that tells how it was begun.

        What was there is kept in the quarantine. Without any shard there is nothing to lose: the record goes, so
        that a stage can begin anew. Raises UserError, and leaves everything as it is, if there are shards and none
        of them tells.
        """
        shards = self.shards()
        record = next((record for record in map(self._begun_with, shards) if record is not None), None)
        if shards and record is None:
            raise UserError(
                f"{self.path}: its {RECORD} is damaged, and no shard tells how the dataset was begun (those that "
                f"schema 1 wrote don't); put back {RECORD} from a copy"
            )
        with suppress(FileNotFoundError):
            damaged = self.storage.read(RECORD).hex()
            note = {"shard": RECORD, "reasons": ["does not match its checksum"], "hex": damaged}
            self.storage.write(
                f"{QUARANTINE}/{RECORD}-{digest(damaged)[:12]}.json", json.dumps(note).encode()
            )
        reached("repair: kept")
        if record is not None:
            self.storage.write(RECORD, record)
            reached("repair: mended")
        else:
            self.storage.remove(RECORD)

    def _begun_with(self, name: str) -> bytes | None:
        """The dataset's own record as a shard has it; None if it hasn't."""
        with suppress(CorruptShard, KeyError):
            return seal(self.open(name).record["dataset"])
        return None

    def shards(self) -> list[str]:
        """Folder names of the shards, newest revision of each, sorted."""
        return sorted(_revisions(self.storage.folders())[0])

    def stamps(self) -> dict[str, str]:
        """By folder name of each shard, what changes when it is dropped and another takes its name."""
        names = self.shards()
        return dict(zip(names, self.storage.stamps(names), strict=True))

    def superseded(self) -> list[str]:
        """Folder names of revisions that a newer one has replaced: left by a kill, safe to drop."""
        newest, older = _revisions(self.storage.folders())
        ids = {name.rpartition(".")[0] for name in older}
        used = self.storage.uses([n for n in newest if n.rpartition(".")[0] in ids]) if older else ()
        return [name for name in older if name not in used]

    def open(self, name: str) -> Shard:
        """Open a shard by folder name. Raises CorruptShard."""
        return Shard.load(self.storage, name)

    def newest(self, shard: str, least: int = 0) -> Shard | None:
        """The newest revision of a shard, given without one, from number `least` on; None if there is none.

        Asks for the next revisions one by one, and lists only if they are not there. Raises as `open`.
        """
        found = None
        with suppress(MissingFile):
            while True:
                found = self.open(f"{shard}.{least}")
                least += 1
        if found is not None:
            return found
        later = [n for n in self.shards() if n.rpartition(".")[0] == shard and revision_of(n) >= least]
        return self.open(later[0]) if later else None

    def open_all(
        self, names: Sequence[str], broken: Callable[[CorruptShard], None] | None = None
    ) -> Iterator[Shard]:
        """Open many shards, in order, with as many requests at a time as the storage bears.

        broken: told of those that can't be read; without it, raises as `open`.
        """
        for start in range(0, len(names), RECORDS_AT_A_TIME):
            batch = names[start : start + RECORDS_AT_A_TIME]
            for name, found in zip(batch, self.storage.read_records(batch), strict=True):
                try:
                    shard = self.open(name) if found is None else Shard.parse(self.storage, name, *found)
                except CorruptShard as error:
                    if broken is None:
                        raise
                    broken(error)
                    continue
                yield shard

    def tags(self) -> list[Tag]:
        """Words that came with the sources: captions, tags, alternative texts. Raises as `open`."""
        return list(tags_in(self.open_all(self.shards())))

    def file(self, name: str) -> DatasetFile:
        """A small file beside the shards."""
        return DatasetFile(self, name)

    def rejected_log(self) -> DatasetFile:
        """Sources that were refused, a JSON line each."""
        return self.file("rejected.jsonl")

    def failures_log(self) -> DatasetFile:
        """Work items that failed, a JSON line each."""
        return self.file("failures.jsonl")


def _revisions(folders: Sequence[str]) -> tuple[list[str], list[str]]:
    """Of folders' names, those of the newest revisions and those of older ones; others are no shards'."""
    newest: dict[str, int] = {}
    found: list[tuple[str, int]] = []
    for name in folders:
        shard, _, revision = name.rpartition(".")
        if shard and revision.isdecimal():
            found.append((shard, int(revision)))
            newest[shard] = max(newest.get(shard, 0), int(revision))
    keep = [f"{shard}.{revision}" for shard, revision in newest.items()]
    return keep, [f"{s}.{r}" for s, r in found if r != newest[s]]


def _besides(path: str) -> str:
    """What is there instead of a dataset, as the end of a sentence."""
    if is_remote(path):
        return ""
    if not os.path.exists(path):
        return ", nor is there such a folder"
    if not os.path.isdir(path):
        return ", it is a file"
    return "" if os.listdir(path) else ", the folder is empty: label or render into it first"
