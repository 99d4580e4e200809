"""The storages keep the contract, and its test finds those that don't."""

import errno
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from freelabels.pipeline.storage.file_cache import FileCache
from freelabels.pipeline.storage.layouts import LAYOUTS, open_place
from freelabels.pipeline.storage.local import LocalFile, LocalStorage
from freelabels.testing import ContractBroken, check_storage
from tests.object_store import s3_server


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server():
        yield "s3://bucket"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder(tmp_path: Path, layout: str) -> None:
    check_storage(lambda: LAYOUTS[layout](open_place(tmp_path / "new" / "data")))


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_object_store(bucket: str, layout: str) -> None:
    check_storage(lambda: LAYOUTS[layout](open_place(f"{bucket}/plain-{layout}")))


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_object_store_through_a_cache(bucket: str, tmp_path: Path, layout: str) -> None:
    cache = FileCache(tmp_path, 1 << 30)
    check_storage(lambda: LAYOUTS[layout](open_place(f"{bucket}/cached-{layout}", cache)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_store_that_fsspec_knows(layout: str) -> None:
    check_storage(lambda: LAYOUTS[layout](open_place(f"memory://contract-{layout}")))


# --- storages that break it -------------------------------------------------------------------------------------


class Overwriting(LocalStorage):
    """The last writer wins."""

    def commit(self, folder: str, files: Mapping[str, bytes], links: Mapping[str, str]) -> bool:
        self.drop(folder)
        return super().commit(folder, files, links)


class Racy(LocalStorage):
    """Looks first and writes later."""

    def commit(self, folder: str, files: Mapping[str, bytes], links: Mapping[str, str]) -> bool:
        if self.path(folder).exists():
            return False
        if folder.startswith("raced"):
            time.sleep(0.3)
            self.drop(folder)
            super().commit(folder, files, links)
            return True
        return super().commit(folder, files, links)


class Unstaged(LocalStorage):
    """Writes where readers look."""

    def commit(self, folder: str, files: Mapping[str, bytes], links: Mapping[str, str]) -> bool:
        if self.path(folder).exists():
            return False
        self.path(folder).mkdir(parents=True)
        self._fill(self.path(folder), files, links)
        return True


class Moving(LocalStorage):
    """Takes what it should copy."""

    def commit(self, folder: str, files: Mapping[str, bytes], links: Mapping[str, str]) -> bool:
        won = super().commit(folder, files, links)
        for key in links.values():
            self.path(key).write_bytes(b"taken")
        return won


class Greedy(LocalStorage):
    """Sweeps what others are writing."""

    def sweep(self) -> int:
        found = list(self.root.glob(".tmp-*"))
        for leftover in found:
            shutil.rmtree(leftover)
        return len(found)


class Forgetful(LocalStorage):
    """Drops the record and keeps the rest."""

    def drop(self, folder: str) -> None:
        (self.path(folder) / "zarr.json").unlink(missing_ok=True)


class Careless(LocalStorage):
    """Deletes what it should set aside."""

    def quarantine(self, folder: str, note: bytes) -> None:
        self.drop(folder)


class Late(LocalStorage):
    """The second beginner counts."""

    def begin(self, key: str, data: bytes) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.path(key).write_bytes(data)


class Silent(LocalStorage):
    """Says nothing of what is not there."""

    def read(self, key: str) -> bytes:
        return super().read(key) if self.exists(key) else b""


class Ambiguous(LocalStorage):
    """Tells folders apart by their names."""

    def stamps(self, folders: list[str]) -> list[str]:  # type: ignore[override]
        return [
            folder if stamp else "" for folder, stamp in zip(folders, super().stamps(folders), strict=True)
        ]


class Whole(LocalStorage):
    """Gives the whole file whatever part is asked for."""

    def open(self, key: str, size: int, sha256: str) -> LocalFile:
        data = self.read(key)
        file = super().open(key, size, sha256)
        return LocalFile(file.handle, size, lambda start, stop: data)


class Shy(LocalStorage):
    """Lists no hidden files."""

    def files(self, place: str) -> list[str]:
        return [name for name in super().files(place) if "/." not in name]


@dataclass(frozen=True)
class Broken:
    storage: type[LocalStorage]
    rule: str


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken",
    [
        Broken(Overwriting, "a second commit of a folder is not said to have lost"),
        Broken(Racy, "writers at the same time: of 6 writers"),
        Broken(Unstaged, "to be seen"),
        Broken(Moving, "don't outlive the folder that they were copied from"),
        Broken(Greedy, "work in progress"),
        Broken(Forgetful, "a dropped folder is still there"),
        Broken(Careless, "quarantine: of one folder, the quarantine holds"),
        Broken(Late, "who begins second changes the first file"),
        Broken(Silent, "reading notes.json, which is not there, raises no FileNotFoundError"),
        Broken(Ambiguous, "the record or the stamp of the one before"),
        Broken(Whole, "bytes 3 to 5 of a file of 11 are 11 bytes, not those committed"),
        Broken(Shy, "its files are"),
    ],
    ids=lambda broken: broken.storage.__name__,
)
def test_what_breaks_it_is_told_in_a_sentence(broken: Broken, tmp_path: Path) -> None:
    with pytest.raises(ContractBroken, match=f"^{broken.storage.__name__}: ") as raised:
        check_storage(lambda: broken.storage(tmp_path / "data"))
    assert broken.rule in str(raised.value)


def test_a_disk_that_fails_is_not_taken_for_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = LocalStorage(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    (tmp_path / "a" / "gone").symlink_to(tmp_path / "nowhere")
    assert place.files("a") == ["b/file"] and place.files("absent") == []

    def failing(folder: str) -> Iterator[os.DirEntry[str]]:
        raise OSError(errno.EIO, "injected")

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(OSError, match="injected"):
        place.files("a")
