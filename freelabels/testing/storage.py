"""The contract of storages as a test: what `freelabels.pipeline.storage.interface.Storage` promises."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from freelabels.ground.errors import UserError
from freelabels.pipeline.storage.interface import Storage
from freelabels.pipeline.storage.local import QUARANTINE, RECORD
from freelabels.testing.broken import ContractBroken

ROOT_FILE = "zarr.json"
BIG = 9 << 20  # bytes, more than object stores take in one part
ODD_NAMES = ("c/0/0/0", "with a blank", "ümläut-漢", "50%41#+&=", "[a]*?{b}", "'quoted\"", ".hidden", "a..b")
WRITERS = 6


def check_storage(open_storage: Callable[[], Storage]) -> None:
    """Check that a storage keeps the contract, in a place where nothing lies yet.

    open_storage: opens that one place; it is called for every reader and writer, which know nothing of each other.
    What is checked:

    - the place is vacant until it has begun, and of any number of beginners the first counts;
    - files beside the folders are written, replaced whole, read and removed;
    - a folder is committed whole or not at all: with its files, however named, empty or large, and with copies of
      others' files that outlive these; of several writers at once exactly one wins, and readers see no half of it;
    - a folder in the quarantine is whole, out of sight, with its note, and can be put back;
    - what was interrupted is nowhere to be seen, in nobody's way, and no sweep removes work in progress;
    - folders, records, stamps, files and ranges of bytes are read as they were committed, and dropped folders are
      gone; what is not there is a FileNotFoundError.

    Raises ContractBroken with one sentence for the first rule that is broken. What it wrote stays in the place.
    """
    for rule, problems in RULES.items():
        try:
            for problem in problems(open_storage):
                raise ContractBroken(f"{type(open_storage()).__name__}: {rule}: {problem}")
        except (OSError, UserError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ContractBroken(
                f"{type(open_storage()).__name__}: {rule}: raised {type(error).__name__} ({error})"
            ) from error


Opener = Callable[[], Storage]


def _beginning(opened: Opener) -> Iterator[str]:
    storage = opened()
    if not storage.vacant():
        yield "it is not vacant at first; pass a place where nothing lies"
    storage.begin(ROOT_FILE, b"first")
    opened().begin(ROOT_FILE, b"second")
    if (held := storage.read(ROOT_FILE)) != b"first":
        yield f"who begins second changes the first file to {held!r}"
    if storage.vacant():
        yield "it is still vacant when it has begun"
    if not storage.vacant([ROOT_FILE]):
        yield "it is not vacant besides the only file that lies there"
    if folders := storage.folders():
        yield f"it lists the folders {folders} before any was committed"


def _loose_files(opened: Opener) -> Iterator[str]:
    storage, other = opened(), opened()
    for key in ("notes.json", ".notes/one.json"):
        if storage.exists(key):
            yield f"{key} exists before it was written"
        if not _is_missing(lambda key=key: storage.read(key)):  # type: ignore[misc]
            yield f"reading {key}, which is not there, raises no FileNotFoundError"
        storage.remove(key)
        for data in (b"one", b"", bytes(range(256)) * 9):
            storage.write(key, data)
            if other.read(key) != data or not other.exists(key):
                yield f"{key} is not read as it was written ({len(data)} bytes)"
        storage.remove(key)
        if other.exists(key):
            yield f"{key} exists after it was removed"
    if folders := storage.folders():
        yield f"files beside the folders are listed as the folders {folders}"


def _a_folder(opened: Opener) -> Iterator[str]:
    storage, other = opened(), opened()
    files = {
        RECORD: b'{"rows": 3}',
        **{f"data/{name}": f"{name}!".encode() for name in ODD_NAMES},
        "empty": b"",
        "big": random.Random(0).randbytes(BIG),
    }
    if other.stamps(["whole-1"]) != [""] or other.read_records(["whole-1"]) != [None]:
        yield "a folder has a stamp or a record before it was committed"
    if not _is_missing(lambda: other.record("whole-1")):
        yield "the record of a folder that is not there raises no FileNotFoundError"
    if storage.commit("whole-1", files, {}) is not True:
        yield "the first commit of a folder is not said to have won"
    if other.folders() != ["whole-1"]:
        yield f"another reader lists {other.folders()}, not the folder that was committed"
    place, record = other.record("whole-1")
    if record != files[RECORD] or other.read_records(["none", "whole-1"]) != [None, (place, record)]:
        yield "the record is not the one that was committed"
    if other.files(place) != sorted(files):
        yield f"its files are {other.files(place)}, not {sorted(files)}"
    if not isinstance(other.address(place), str):
        yield "its address is not a string"
    for name, data in files.items():
        if other.read(f"{place}/{name}") != data or not other.exists(f"{place}/{name}"):
            yield f"the file {name!r} of {len(data)} bytes is not read as it was committed"
        yield from _range_problems(other, f"{place}/{name}", data)
    if not _is_missing(lambda: other.read(f"{place}/none")) or other.exists(f"{place}/none"):
        yield "a file that the folder does not have is not missed"


def _range_problems(storage: Storage, key: str, data: bytes) -> Iterator[str]:
    sha256, size = hashlib.sha256(data).hexdigest(), len(data)
    first, second = (storage.open(key, size, sha256) for _ in range(2))
    if first.size != size:
        yield f"an open file says that it has {first.size} bytes, not {size}"
    ranges = [(0, size), (size // 3, size // 2), (max(0, size - 5), size), (min(1, size), min(2, size))]
    for start, stop in [*ranges, (max(0, size - 2), size + 9), (0, min(1, size)), (0, 0)]:
        if (found := first.fetch(start, stop)) != data[start:stop]:
            yield f"bytes {start} to {stop} of a file of {size} are {len(found)} bytes, not those committed"
    first.close()
    if second.fetch(0, size) != data:
        yield "a file can't be read when another handle of it was closed"
    second.close()


def _second_commit(opened: Opener) -> Iterator[str]:
    if opened().commit("whole-1", {RECORD: b"another"}, {}) is not False:
        yield "a second commit of a folder is not said to have lost"
    if opened().record("whole-1")[1] != b'{"rows": 3}':
        yield "a second commit changes the folder"


def _links(opened: Opener) -> Iterator[str]:
    storage = opened()
    place, _ = storage.record("whole-1")
    name = f"data/{ODD_NAMES[4]}"
    links = {"copies/one": f"{place}/{name}", "copies/empty": f"{place}/empty"}
    if not storage.commit("linked-1", {RECORD: b"{}", "own": b"own"}, links):
        yield "a folder with copies of another's files is not committed"
    stamp = storage.stamps(["whole-1", "linked-1"])
    if "" in stamp or stamp != opened().stamps(["whole-1", "linked-1"]):
        yield "stamps of folders that nobody touched differ between two readers, or are empty"
    storage.drop("whole-1")
    storage.drop("whole-1")
    other = opened()
    if (
        other.folders() != ["linked-1"]
        or other.stamps(["whole-1"]) != [""]
        or other.read_records(["whole-1"]) != [None]
    ):
        yield "a dropped folder is still there"
    if not _is_missing(lambda: other.record("whole-1")) or other.exists(f"{place}/{RECORD}"):
        yield "the files of a dropped folder are still there"
    linked, _ = other.record("linked-1")
    if other.files(linked) != sorted((RECORD, "own", *links)):
        yield f"a folder with copies has the files {other.files(linked)}"
    if other.read(f"{linked}/copies/one") != f"{ODD_NAMES[4]}!".encode() or other.read(
        f"{linked}/copies/empty"
    ):
        yield "copies of files don't outlive the folder that they were copied from"
    if not storage.commit("whole-1", {RECORD: b"made again"}, {}):
        yield "a dropped folder can't be committed again"
    if other.record("whole-1")[1] != b"made again" or other.stamps(["whole-1", "linked-1"])[0] in stamp:
        yield "a folder that was made again has the record or the stamp of the one before"


def _quarantine(opened: Opener) -> Iterator[str]:
    storage = opened()
    files = {RECORD: b'{"sick": 1}', "a": b"a", "b/c": b"c"}
    storage.commit("sick-1", files, {})
    storage.quarantine("none-1", b"why")
    storage.quarantine("sick-1", b"why")
    other = opened()
    if "sick-1" in other.folders() or other.stamps(["sick-1"]) != [""]:
        yield "a folder in the quarantine is still to be seen"
    names = sorted({key.partition("/")[0] for key in other.files(QUARANTINE) if "/" in key})
    if len(names) != 1 or not names[0].startswith("sick-1-"):
        yield f"of one folder, the quarantine holds {names}"
        return
    place = f"{QUARANTINE}/{names[0]}"
    if {name: other.read(f"{place}/{name}") for name in other.files(place)} != files:
        yield "the files in the quarantine are not those of the folder"
    if other.read(f"{place}.json") != b"why":
        yield "the note in the quarantine is not the one given"
    links = {name: f"{place}/{name}" for name in files if name != RECORD}
    if (
        not other.commit("sick-1", {RECORD: files[RECORD]}, links)
        or other.read(f"{other.record('sick-1')[0]}/b/c") != files["b/c"]
    ):
        yield "a folder can't be put back from the quarantine"
    other.purge(names[0])
    if opened().files(QUARANTINE):
        yield "what was purged is still in the quarantine"
    if opened().read(f"{opened().record('sick-1')[0]}/a") != b"a":
        yield "a purge takes from what was put back"
    other.drop("sick-1")


def _failures(opened: Opener) -> Iterator[str]:
    storage = opened()
    before = storage.folders()
    if not _is_missing(lambda: storage.commit("failed-1", {RECORD: b"{}"}, {"copy": "none-1/none"})):
        yield "copying a file that is not there raises no FileNotFoundError"
    try:
        storage.commit("killed-1", Files({"a": b"a", RECORD: b"{}"}, at_last=_die), {})
        yield "a commit is said to be made, or lost, that never read all of its files"
    except Death:
        pass
    other = opened()
    for folder, what in (
        ("failed-1", "a commit that failed"),
        ("killed-1", "a commit whose writer was killed"),
    ):
        if folder in other.folders() or not _is_missing(lambda folder=folder: other.record(folder)):  # type: ignore[misc]
            yield f"{what} is to be seen"
        other.sweep()
        if other.folders() != sorted(before):
            yield "a sweep changes which folders there are"
        if not other.commit(folder, {RECORD: b"whole", "a": b"a"}, {}):
            yield f"{what} is in the way of the next"
        before.append(folder)
        opened().sweep()
        place, record = other.record(folder)
        if record != b"whole" or other.read(f"{place}/a") != b"a":
            yield "a sweep takes from a folder that is committed"


def _work_in_progress(opened: Opener) -> Iterator[str]:
    swept: list[int] = []
    files = Files(
        {"a": b"a", RECORD: b"{}"}, at_last=lambda: swept.append(opened().sweep()) if not swept else None
    )
    if not opened().commit("slow-1", files, {}):
        yield "a sweep makes a commit in progress fail"
    place, _ = opened().record("slow-1")
    if opened().read(f"{place}/a") != b"a" or any(swept):
        yield "a sweep removes work in progress"


def _race(opened: Opener) -> Iterator[str]:
    start, won = threading.Barrier(WRITERS + 1), threading.Event()
    seen: list[bool] = []

    def write(writer: int) -> bool:
        storage, own = opened(), str(writer).encode()
        start.wait(60)
        return storage.commit("raced-1", {RECORD: own, "a": own * 1000, "b/c": own}, {})

    def read() -> None:
        storage = opened()
        start.wait(60)
        while not won.is_set() and not seen:
            if "raced-1" in storage.folders():
                place, own = storage.record("raced-1")
                whole = (
                    storage.files(place) == ["a", "b/c", RECORD] and storage.read(f"{place}/a") == own * 1000
                )
                seen.append(whole)

    with ThreadPoolExecutor(WRITERS + 1) as pool:
        reader = pool.submit(read)
        results = [writer.result() for writer in [pool.submit(write, k) for k in range(WRITERS)]]
        won.set()
        reader.result()
    if results.count(True) != 1 or results.count(False) != WRITERS - 1:
        yield f"of {WRITERS} writers {results.count(True)} are told that they won"
    if not all(seen):
        yield "a reader sees a folder that is not whole"
    winner = str(results.index(True)).encode()
    place, record = opened().record("raced-1")
    if (
        record != winner
        or opened().read(f"{place}/b/c") != winner
        or opened().read(f"{place}/a") != winner * 1000
    ):
        yield "the folder is not the one of the writer who was told to have won"


RULES: Mapping[str, Callable[[Opener], Iterator[str]]] = {
    "beginning": _beginning,
    "files beside the folders": _loose_files,
    "a committed folder": _a_folder,
    "a second commit": _second_commit,
    "copies and dropping": _links,
    "quarantine": _quarantine,
    "failure": _failures,
    "work in progress": _work_in_progress,
    "writers at the same time": _race,
}


class Death(BaseException):
    """What ends a writer in the middle of a commit, as a kill does: nothing catches it to clean up."""


def _die() -> None:
    raise Death


@dataclass(frozen=True)
class Files(Mapping[str, bytes]):
    """Files to commit, of which reading the last one does something first."""

    files: Mapping[str, bytes]
    at_last: Callable[[], object]

    def __getitem__(self, name: str) -> bytes:
        if name == list(self.files)[-1]:
            self.at_last()
        return self.files[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


def _is_missing(read: Callable[[], object]) -> bool:
    """Whether it raises FileNotFoundError."""
    try:
        read()
    except FileNotFoundError:
        return True
    return False
