"""Files inside tars and zips are read as those in folders are, where they lie; what is dangerous is refused."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from freelabels.ground.spelling import counted
from freelabels.pipeline.sources.clip_specs import ClipSpec, SourceOptions
from freelabels.pipeline.sources.decode import read
from freelabels.pipeline.sources.examine import examine
from freelabels.pipeline.sources.find import Item, Passed, Refusal, find
from freelabels.pipeline.storage import uris
from freelabels.pipeline.storage.archives import bytes_at, directory, zips
from freelabels.pipeline.storage.archives.bytes_at import FileBytes, GzipBytes
from tests.pipeline.sources.test_sources import pan, save, scene
from tests.sources import moving_frames, write_video

EVERY = SourceOptions(fps=None)


def png(seed: int, side: int = 64) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(scene(seed, side, side)).save(stream, "png")
    return stream.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos, a sequence, a stereo pair, a video, and what isn't read."""
    root = tmp_path_factory.mktemp("folder") / "data"
    save(root / "a.png", scene(1))
    save(root / "deep" / "er" / "b.jpg", scene(2))
    for k, frame in enumerate(pan(3, 4)):
        save(root / "shot" / f"{k:03}.png", frame)
    wide = scene(4, 96, 140)
    save(root / "pair" / "left.png", wide[:, 6:134])
    save(root / "pair" / "right.png", wide[:, 12:140])
    write_video(root / "film.mp4", moving_frames(6))
    (root / "notes.md").write_text("?")
    (root / ".hidden.png").write_bytes(png(5))
    return root


def zipped(root: Path, to: Path, method: int) -> Path:
    with zipfile.ZipFile(to, "w", method) as file:
        for path in sorted(root.rglob("*")):
            file.write(path, path.relative_to(root))
    return to


def tarred(root: Path, to: Path, mode: str) -> Path:
    with tarfile.open(to, mode) as file:  # type: ignore[call-overload]
        for path in sorted(root.iterdir()):
            file.add(path, f"./{path.name}")
    return to


PACK: dict[str, Callable[[Path, Path], Path]] = {
    "stored.zip": lambda root, to: zipped(root, to, zipfile.ZIP_STORED),
    "deflated.zip": lambda root, to: zipped(root, to, zipfile.ZIP_DEFLATED),
    "bzip2.ZIP": lambda root, to: zipped(root, to, zipfile.ZIP_BZIP2),
    "plain.tar": lambda root, to: tarred(root, to, "w"),
    "packed.tar.gz": lambda root, to: tarred(root, to, "w:gz"),
    "packed.tgz": lambda root, to: tarred(root, to, "w:gz"),
}


def clips_of(source: str) -> tuple[list[ClipSpec], list[Refusal], list[Passed]]:
    clips: list[ClipSpec] = []
    refused: list[Refusal] = []
    passed: list[Passed] = []
    for found in find([source]):
        if isinstance(found, Item):
            examined = examine(found, EVERY)
            clips += examined.clips
            refused += examined.refusals
        else:
            (passed if isinstance(found, Passed) else refused).append(found)  # type: ignore[arg-type]
    return clips, refused, passed


def write_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", PACK)
def test_clips_are_those_of_the_folder(folder: Path, tmp_path: Path, name: str) -> None:
    packed = PACK[name](folder, tmp_path / name)
    before = sorted(tmp_path.iterdir())
    expected, _, _ = clips_of(str(folder))
    clips, refused, passed = clips_of(str(packed))
    assert [clip.key for clip in clips] == [clip.key for clip in expected] and len(clips) == 5
    assert [clip.kind for clip in clips] == ["photo", "photo", "video", "stereo", "sequence"]
    assert refused == [] and [one.first for one in passed] == ["notes.md"]
    for there, here in zip(expected, clips, strict=True):
        np.testing.assert_array_equal(read(here, (64, 64)).image, read(there, (64, 64)).image)
    assert sorted(tmp_path.iterdir()) == before  # nothing was unpacked


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deflated.zip", "plain.tar", "packed.tgz"])
def test_an_archive_in_a_folder_and_in_an_object_store(folder: Path, tmp_path: Path, name: str) -> None:
    save(tmp_path / "z.png", scene(9))
    packed = PACK[name](folder, tmp_path / name)
    expected = [clip.key for clip in clips_of(str(folder))[0]]
    clips, _, _ = clips_of(str(tmp_path))
    assert [clip.key for clip in clips][:5] == expected and Path(clips[5].uris[0]).name == "z.png"
    store = fsspec.filesystem("memory")
    store.pipe(f"/bucket/{name}", packed.read_bytes())
    try:
        for source in (f"memory://bucket/{name}", "memory://bucket"):
            assert [clip.key for clip in clips_of(source)[0]] == expected
    finally:
        store.rm("/bucket", recursive=True)


OUTSIDE = {"../up.png": png(1), "/abs.png": png(2), "a/../../b.png": png(3), "good/in.png": png(4)}


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_names_that_lead_out_are_passed_over(
    tmp_path: Path, write: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    packed = write(tmp_path / ("a.zip" if write is write_zip else "a.tar"), OUTSIDE)
    clips, refused, passed = clips_of(str(packed))
    assert [clip.uris[0].partition("!/")[2] for clip in clips] == ["good/in.png"] and refused == []
    assert [(one.count, one.reason) for one in passed] == [(3, directory.OUTSIDE)]
    for name in OUTSIDE:
        with pytest.raises(FileNotFoundError):
            uris.read_bytes(f"{packed}!/{name}") if name != "good/in.png" else uris.read_bytes(
                f"{packed}!/no"
            )


def test_links_and_files_with_holes_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(1))
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
            entry = tarfile.TarInfo(f"link{kind!r}.png")
            entry.type, entry.linkname = kind, str(tmp_path / "secret.png")
            file.addfile(entry)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as packed:
        info = zipfile.ZipInfo("link.png")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        packed.writestr(info, str(tmp_path / "secret.png"))
    for name, count in (("a.tar", 3), ("b.zip", 1)):
        clips, _, passed = clips_of(str(tmp_path / name))
        assert clips == [] and (passed[0].reason, passed[0].count) == (directory.LINKS, count)


def refusal_of(path: Path) -> str:
    clips, refused, _ = clips_of(str(path))
    assert clips == []
    [one] = refused
    return one.reason


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bytes_at, zips):
        monkeypatch.setattr(module, "BOMB_LEAST", 1 << 20)
    zeros = bytes(4 << 20)
    write_zip(tmp_path / "ratio.zip", {"a.bmp": zeros}, zipfile.ZIP_DEFLATED)
    write_tar(tmp_path / "ratio.tar.gz", {"a.bmp": zeros}, "w:gz")
    with zipfile.ZipFile(tmp_path / "overlap.zip", "w") as file:  # one file under many names
        file.writestr("0.png", png(1))
        for k in range(1, 40):
            again = zipfile.ZipInfo(f"{k}.png")
            for name in ("header_offset", "CRC", "compress_size", "file_size"):
                setattr(again, name, getattr(file.filelist[0], name))
            file.filelist.append(again)
    for path in tmp_path.iterdir():
        assert refusal_of(path) == bytes_at.BOMB


def test_a_file_that_unpacks_to_too_much_costs_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zips, "LARGEST_FILE", 1 << 16)
    files = {"large.png": png(1, 256), "small.png": png(2, 32)}
    clips, refused, _ = clips_of(str(write_zip(tmp_path / "a.zip", files, zipfile.ZIP_DEFLATED)))
    assert len(clips) == 1 and "larger than" in refused[0].reason and refused[0].uri.endswith("!/large.png")


def test_a_directory_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MOST_FILES", 5)
    files = {f"{k}.png": b"x" for k in range(6)}
    assert "more than 5 files" in refusal_of(write_zip(tmp_path / "a.zip", files))
    monkeypatch.setattr(zips, "LARGEST_DIRECTORY", 100)
    assert "directory of more than" in refusal_of(write_zip(tmp_path / "b.zip", files))
    with tarfile.open(tmp_path / "c.tar", "w", format=tarfile.PAX_FORMAT) as file:
        entry = tarfile.TarInfo("a.png")
        entry.pax_headers = {"comment": "x" * (2 << 20)}
        file.addfile(entry)
    assert "directory of more than" in refusal_of(tmp_path / "c.tar")


def test_zips_within_zips_and_closed_archives_are_passed_over(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", {"inner.zip": png(1), "a.png": png(2)})
    (tmp_path / "b.tar.xz").write_bytes(b"x")
    (tmp_path / "c.7z").write_bytes(b"x")
    clips, _, passed = clips_of(str(tmp_path))
    assert len(clips) == 1
    assert {(one.first, one.count) for one in passed} == {("inner.zip", 1), ("b.tar.xz", 2)}


def test_files_under_a_password_are_passed_over(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"a.png": png(1), "b.png": png(2)})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the first entry of the directory says so
    path.write_bytes(data)
    clips, _, passed = clips_of(str(path))
    assert len(clips) == 1 and "password" in passed[0].reason


def test_of_a_tar_that_is_cut_off_what_is_before_is_used(tmp_path: Path) -> None:
    for name, mode in (("a.tar", "w"), ("a.tgz", "w:gz")):
        whole = write_tar(tmp_path / name, {f"photo {'abcdef'[k]}.png": png(k) for k in range(6)}, mode)
        data = whole.read_bytes()
        whole.write_bytes(data[: len(data) // 2])
        clips, refused, _ = clips_of(str(whole))
        assert 1 <= len(clips) <= 4
        assert [one.uri for one in refused] == [str(whole)]
        assert "cut off" in refused[0].reason and counted(len(clips), "file") in refused[0].reason


def test_of_a_damaged_zip_one_file_is_lost(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = write_zip(tmp_path / "a.zip", {"a.png": png(1), "b.png": png(2)}, method)
        data = bytearray(path.read_bytes())
        data[len(png(1)) // 2] ^= 0xFF
        path.write_bytes(data)
        clips, refused, _ = clips_of(str(path))
        assert [clip.uris[0][-5:] for clip in clips] == ["b.png"] and refused[0].uri.endswith("!/a.png")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    said = {
        "a.zip": "is not a zip",
        "a.tar": "is not a tar",
        "a.tgz": "damaged",
        "a.parquet": "is not a Parquet",
    }
    for name, sentence in said.items():
        (tmp_path / name).write_bytes((b"\x1f\x8b" if name == "a.tgz" else b"") + b"nothing of the sort" * 99)
        assert sentence in refusal_of(tmp_path / name)
        (tmp_path / name).write_bytes(b"")
        assert refusal_of(tmp_path / name) == "is empty"
    write_zip(tmp_path / "cut.zip", {"a.png": png(1)})
    (tmp_path / "cut.zip").write_bytes((tmp_path / "cut.zip").read_bytes()[:-30])
    assert "cut off" in refusal_of(tmp_path / "cut.zip")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stored.zip", "deflated.zip", "plain.tar", "packed.tgz"])
def test_damage_anywhere_never_stops_the_search_nor_loses_a_file_in_silence(
    folder: Path, tmp_path: Path, name: str
) -> None:
    data = PACK[name](folder, tmp_path / name).read_bytes()
    rng = np.random.default_rng(0)
    for trial in range(20):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            damaged[place] = rng.integers(256)
        if trial % 2:
            damaged[-4000:] = rng.bytes(4000) if trial % 4 == 1 else b""
        path = tmp_path / f"{trial}-{name}"
        path.write_bytes(damaged)
        clips, refused, passed = clips_of(str(path))
        assert clips or refused or passed
        assert all(one.reason for one in refused)


def test_what_gzip_packed_is_read_at_any_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip

    monkeypatch.setattr(bytes_at, "STRIDE", 1 << 12)
    monkeypatch.setattr(bytes_at, "STATES", 8)
    rng = np.random.default_rng(1)
    plain = rng.integers(0, 60, 1 << 18, np.uint8).tobytes()
    half = len(plain) // 2
    (tmp_path / "a.gz").write_bytes(gzip.compress(plain[:half]) + gzip.compress(plain[half:]))  # joined
    packed = GzipBytes(FileBytes(str(tmp_path / "a.gz")))
    packed._stride = 1 << 12
    for start in [0, len(plain) - 9, *rng.integers(0, len(plain), 60).tolist(), 5]:
        assert packed.read_at(start, 5000) == plain[start : start + 5000]
    assert packed.size == len(plain) and not packed.cut and len(packed._states) <= 8


def test_a_file_and_a_folder_named_like_one_inside_an_archive(tmp_path: Path) -> None:
    save(tmp_path / "odd.zip!" / "a.png", scene(1))
    clips, refused, _ = clips_of(str(tmp_path))
    assert len(clips) == 1 and refused == []


def test_an_archive_that_changed_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    first = clips_of(str(write_zip(path, {"a.png": png(1)})))[0]
    second = clips_of(str(write_zip(path, {"a.png": png(2), "b.png": png(3)})))[0]
    assert len(second) == 2 and first[0].key not in {clip.key for clip in second}
