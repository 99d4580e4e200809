"""Bad input through the real command line: files are refused by name, mistakes cost one sentence."""

import json
import os
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from freelabels.cli.main import main
from freelabels.pipeline.shards.dataset import Dataset
from tests.sources import moving_frames, photo, write_photos, write_video

QUICK = ("--workers", "0", "--size", "64", "--labels", "regions")
CANNOT_WRITE = "freelabels: can't write to "


def run(*arguments: object) -> int:
    """Exit status of `freelabels label` with these arguments, sources before options."""
    with pytest.raises(SystemExit) as end:
        main(["label", *map(str, arguments)])
    assert isinstance(end.value.code, int)
    return end.value.code


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that went to standard error."""
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("freelabels: ")
    return line


def huge_png(path: Path, side: int) -> None:
    """A whole, valid PNG of side × side black pixels, one bit each."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pack, line = zlib.compressobj(1), bytes(1 + (side + 7) // 8)
    rows = b"".join([*(pack.compress(line * 100) for _ in range(side // 100)), pack.flush()])
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def make_unreadable(path: Path) -> None:
    """A file that can't be read, for root neither."""
    path.write_bytes(b"secret")
    path.chmod(0)
    if os.access(path, os.R_OK):
        path.unlink()
        path.symlink_to("/proc/self/mem")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that can be wrong with a folder, between two good photos."""
    folder = tmp_path_factory.mktemp("everything")
    [one, two] = write_photos(folder, 2)
    one.rename(folder / """it's "my" first photo.png""")
    two.rename(folder / "фото 写真 ✓.png")
    image = Image.fromarray(photo("rocket"))
    image.save(folder / "truncated.jpg")
    whole = (folder / "truncated.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").touch()
    (folder / "text.png").write_text("this is no picture\n" * 20)
    film = write_video(folder / "half.mp4", moving_frames(20)).read_bytes()
    (folder / "half.mp4").write_bytes(film[: len(film) // 2])
    with av.open(str(folder / "no frames.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()
    Image.new("RGB", (1, 1), "red").save(folder / "dot.png")
    huge_png(folder / "huge.png", 30_000)
    deep = photo("coffee")[:128, :128].mean(axis=-1) * 257
    Image.fromarray(deep.astype(np.uint16)).save(folder / "deep grey.tiff")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    first, *rest = [Image.fromarray(frame) for frame in moving_frames(4)]
    first.save(folder / "moving.gif", save_all=True, append_images=rest, duration=100)
    make_unreadable(folder / "unreadable.jpg")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "龍 copy.png").write_bytes((folder / "фото 写真 ✓.png").read_bytes())
    return folder


REFUSED = {
    "truncated.jpg": "is truncated",
    "empty.jpg": "is empty",
    "text.png": "is not an image",
    "half.mp4": "index or header is missing",
    "no frames.mp4": "",
    "dot.png": "has 1 × 1 pixels",
    "huge.png": "has too many pixels",
    "unreadable.jpg": "can't be read",
    "loop": "looked into already",
    "龍 copy.png": "same content",
}


@pytest.mark.slow
def test_what_is_bad_is_refused_by_name_and_the_rest_is_labelled(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--out", tmp_path / "out", *QUICK) == 0
    said = capsys.readouterr()
    assert f"{len(REFUSED)} files refused, see " in said.err
    assert f"; {len(REFUSED)} sources refused" in said.out
    lines = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    reasons = {Path(line["uri"]).name: line["reason"] for line in lines}
    assert set(reasons) == set(REFUSED)
    for name, reason in reasons.items():
        assert REFUSED[name] in reason, (name, reason)
        assert reason and "\n" not in reason and "Traceback" not in reason
    dataset = Dataset(tmp_path / "out")
    clips = [clip for name in dataset.shards() for clip in dataset.open(name).clips]
    kinds = {Path(clip["source"][0]).name: clip["kind"] for clip in clips}
    assert kinds == {
        """it's "my" first photo.png""": "photo",
        "фото 写真 ✓.png": "photo",
        "deep grey.tiff": "photo",
        "cmyk.jpg": "photo",
        "moving.gif": "video",
    }


@pytest.mark.slow
def test_strict_ends_before_any_labelling(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--out", tmp_path / "out", "--strict", *QUICK) == 2
    assert f"{len(REFUSED)} files refused and --strict is given; first: " in capsys.readouterr().err
    assert Dataset(tmp_path / "out").shards() == []


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos", 4)
    return tmp_path / "photos"


MISTAKES = {
    "--labels": {"regoins": "did you mean 'regions'"},
    "--size": {"0": "16 to 8192", "256x": "WIDTHxHEIGHT", "1x2x3": "WIDTHxHEIGHT", "huge": "16 to 8192"},
    "--fps": {"0": "must be positive", "-1": "must be positive", "nan": "must be positive"},
    "--clip-length": {"1": "2..64", "65": "2..64"},
    "--shard-frames": {"0": "1..64", "65": "1..64"},
    "--set": {
        "superpixels": "NAME.PARAMETER=VALUE",
        "superpixel.count=9": "did you mean 'superpixels'",
        "superpixels.number=9": "superpixels has no 'number'",
        "superpixels.count=many": "want int, such as",
        "superpixels.count=-4": "count goes from 1 to 65535, not -4",
        "edges.coarse=()": "edges can't work with that",
    },
    "--memory": {"much": "500M or 1.5G", "-1G": "500M or 1.5G", "0": "500M or 1.5G", "inf": "500M or 1.5G"},
    "--compression": {"zip": "fast, small"},
    "--fov": {"200": "1..170"},
    "--attempts": {"0": "at least 1"},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [(o, v, hint) for o, values in MISTAKES.items() for v, hint in values.items()],
)
def test_a_mistake_costs_one_sentence_and_nothing_is_written(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, hint: str
) -> None:
    assert run(photos, "--out", tmp_path / "out", "--workers", "0", option, value) == 2
    said = sentence(capsys)
    assert hint in said and (option in said or value in said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--fps", "--clip-length", "--seed", "--workers"])
def test_what_is_no_number_is_named(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert run(photos, "--out", tmp_path / "out", option, "many") == 2
    said = sentence(capsys)
    assert option in said and "many" in said and "freelabels label --help" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.ray
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999"])
def test_nobody_at_the_address(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    assert run(photos, "--out", tmp_path / "out", "--address", address) == 2
    assert f"could not reach the Ray cluster at {address}" in sentence(capsys)


def test_no_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--out", tmp_path / "out", *QUICK) == 2
    assert "no source" in sentence(capsys)
    (tmp_path / "void").mkdir()
    assert run(tmp_path / "void", tmp_path / "nowhere", "--out", tmp_path / "out", *QUICK) == 2
    assert "nowhere: does not exist" in sentence(capsys)
    assert not (tmp_path / "out").exists()


def test_an_output_folder_with_something_else_is_left_alone(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    assert run(photos, "--out", tmp_path / "home", *QUICK) == 2
    assert "home holds something else" in sentence(capsys)
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["thesis.txt"]
    assert run(photos, "--out", tmp_path / "home" / "thesis.txt", *QUICK) == 2
    assert "holds something else" in sentence(capsys)
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years of work"


def test_no_permission_to_write(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    if os.access(locked, os.W_OK):
        if not os.path.ismount("/sys"):
            pytest.skip("root may write everywhere on this machine")
        locked = Path("/sys")  # where root can't write either
    assert run(photos, "--out", locked / "freelabels", *QUICK) == 2
    assert sentence(capsys).startswith(f"{CANNOT_WRITE}{locked / 'freelabels'} (")
    assert not (locked / "freelabels").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", place], capture_output=True, text=True
    )
    if mount.returncode:
        pytest.skip(f"a small disk needs the right to mount one: {mount.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def fill(place: Path, leave: int) -> Path:
    """A file that leaves so many bytes of a file system free."""
    filler, free = place / "filler", os.statvfs(place)
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - leave))
    return filler


@pytest.mark.kill
@pytest.mark.parametrize("leave", [0, 8 << 10, 120 << 10])
def test_a_full_disk(photos: Path, small_disk: Path, capsys: pytest.CaptureFixture[str], leave: int) -> None:
    """Full from the start, full before the first shard, full after the first."""
    out = small_disk / "out"
    filler = fill(small_disk, leave)
    assert run(photos, "--out", out, "--shard-frames", "1", *QUICK) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("freelabels: ")]
    assert len(said) == 1 and said[0].startswith(f"{CANNOT_WRITE}{out} (") and "No space left" in said[0]
    assert out.exists() == (leave > 0)
    assert not list(small_disk.rglob(".tmp-*"))
    before = Dataset(out).shards() if out.exists() else []
    assert bool(before) == (leave == 120 << 10)
    filler.unlink()
    assert run(photos, "--out", out, "--shard-frames", "1", *QUICK) == 0
    assert set(before) < set(Dataset(out).shards()) and len(Dataset(out).shards()) == 4
