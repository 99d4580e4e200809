"""Makes what is stored in this folder, with the code of the version that each part stands for.

`python tests/data/make.py NAME`, in a checkout that has git's history, with the environment of `make setup`. The
name `sources` draws the files that are labelled. Any other, of `VERSIONS`, makes an archive and the file that says
what that version read from it.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import fsspec
import numpy as np
import zarr
from moto.server import ThreadedMotoServer
from numpy.typing import NDArray
from PIL import Image

HERE = Path(__file__).parent
SIDE = 64  # pixels of the sources
FOCAL = 64.0  # pixels
FAR, NEAR, HALF = 4.0, 2.0, 0.4  # metres: the wall's middle, the card before it, half the card's side
SLOPE = 0.4  # of the wall: metres farther away a metre to the right
BASELINE = 0.1  # metres
FOCAL_35MM = 41989  # EXIF tag of the focal length that a 35 mm film would need
EXIF_TABLE = 0x8769


@dataclass(frozen=True)
class Version:
    """What is made with the code of one commit.

    size: side of the frames in pixels. clips: how many are rendered; 0: nothing is. labels: which, default all.
    later: labels that are added by a second run. store: the dataset is made in an object store, and its objects
    are kept. packed: its shards are packed. exclusions: one frame is ticked as
    bad. run: a training run is begun, and stopped.
    """

    commit: str
    size: int = 32
    clips: int = 1
    labels: str = ""
    later: str = ""
    store: bool = False
    packed: bool = False
    exclusions: bool = False
    run: bool = False

    def label(self, labels: str) -> tuple[str, ...]:
        """The command that labels the sources."""
        how = (*(("--labels", labels) if labels else ()), *(("--layout", "packed") if self.packed else ()))
        out = "s3://bucket/labelled" if self.store else "labelled"
        return "label", "../sources", "--out", out, "--size", str(self.size), *how, "--workers", "0"

    @property
    def render(self) -> tuple[str, ...]:
        """The command that renders."""
        numbers = ("--clips", str(self.clips), "--frames", "2", "--size", str(self.size))
        return "render", "--out", "rendered", *numbers, "--compression", "small", "--workers", "0"


VERSIONS = {
    "schema-1-bit-shuffle": Version("fab2da5"),
    "schema-1": Version("4e2a24b"),
    "schema-2-early": Version("b667e3f", exclusions=True),
    "schema-2-store": Version("e64e7a6", clips=0, labels="edges", store=True),
    "schema-2": Version("e64e7a6", size=48, clips=2, exclusions=True, run=True),
    "schema-3": Version("faa21d9", clips=0, labels="edges", later="regions", packed=True),
}
STEPS, STOPPED_AFTER = 4, 2
TRAIN = (
    *("train", "labelled", "rendered", "--out", "run", "--steps", str(STEPS), "--log-every", "1"),
    *("--tasks", "edges", "depth", "normals", "--optimizer", "adafactorbv", "--precision", "fp32"),
    *("--device", "cpu", "--loader.size", "32", "--loader.batch", "2"),
    *("--model.backbone", "test_efficientnet", "--model.width", "8"),
)
RUN_FILES = ("checkpoint.pt", "metrics.jsonl", "train.toml")


# --- sources ------------------------------------------------------------------------------------------------


def paint(seed: int, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colours (..., 3), 0 to 255, of points of an endless textured plane; x, y in metres."""
    rng = np.random.default_rng(seed)
    angle, phase = rng.uniform(0, 2 * np.pi, (2, 3, 24))
    waves = rng.uniform(2, 24, (3, 24))  # radians a metre
    along = np.cos(angle) * x[..., None, None] + np.sin(angle) * y[..., None, None]
    return 128 + 18 * np.cos(waves * along + phase).sum(-1)


def view(seed: int, camera: float, card: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Image and depth in metres from `camera` metres to the right, the card standing `card` metres there."""
    centres = (np.arange(SIDE) + 0.5 - SIDE / 2) / FOCAL
    right, down = np.meshgrid(centres, centres)
    on_card = (abs(camera + NEAR * right - card) < HALF) & (abs(NEAR * down) < HALF)
    far = (FAR + SLOPE * camera) / (1 - SLOPE * right)
    wall = paint(seed, camera + far * right, far * down)
    before = paint(seed + 1, camera + NEAR * right - card, NEAR * down)
    image = np.where(on_card[..., None], before, wall).clip(0, 255).astype(np.uint8)
    return image, np.where(on_card, NEAR, far)


def write_sources(folder: Path) -> None:
    """A photo, a video of a card that moves before a moving camera, a stereo pair, an RGB-D sequence, no image."""
    for name in ("photos", "stereo", "rgbd"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif.get_ifd(EXIF_TABLE)[FOCAL_35MM] = 36
    Image.fromarray(view(10, 0, -0.2)[0]).save(folder / "photos" / "card.jpg", quality=92, exif=exif)
    (folder / "photos" / "broken.png").write_text("no image\n")
    with av.open(str(folder / "video.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(10))
        stream.height = stream.width = SIDE
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18", "threads": "1"}
        for k in range(4):
            image = view(20, 0.06 * k, -0.3 + 0.15 * k)[0]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    for name, camera in (("left", 0.0), ("right", BASELINE)):
        Image.fromarray(view(30, camera, 0.1)[0]).save(folder / "stereo" / f"{name}.png")
    matrix = [[FOCAL, 0, SIDE / 2 - 0.5], [0, FOCAL, SIDE / 2 - 0.5], [0, 0, 1]]  # centres counted from 0
    rows = "; ".join(" ".join(f"{number:g}" for number in row) for row in matrix)
    (folder / "stereo" / "calib.txt").write_text(f"cam0=[{rows}]\nbaseline={1000 * BASELINE:g}\n")
    for k in range(2):
        image, depth = view(40, 0.08 * k, 0.0)
        pose = np.eye(4)
        pose[0, 3] = 0.08 * k
        stem = f"rgbd/frame-{k:06d}"
        Image.fromarray(image).save(folder / f"{stem}.color.png")
        Image.fromarray((1000 * depth).astype(np.uint16)).save(folder / f"{stem}.depth.png")
        np.savetxt(folder / f"{stem}.pose.txt", pose, "%g")
    np.savetxt(folder / "rgbd" / "camera-intrinsics.txt", matrix, "%g")


# --- datasets -----------------------------------------------------------------------------------------------


def python(code: Path, folder: Path, program: str, *arguments: str) -> str:
    """What a program prints that finds freelabels in `code` and works in `folder`."""
    check = f"import freelabels; assert freelabels.__file__.startswith({os.fspath(code)!r})\n"
    done = subprocess.run(
        [sys.executable, "-P", "-c", check + program, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.fspath(code), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return done.stdout


COMMAND = """
import sys
try:
    from freelabels.cli.main import main
except ImportError:
    main = freelabels.main
main(sys.argv[1:])
"""


def run(code: Path, folder: Path, *arguments: str) -> str:
    """What a freelabels command prints."""
    return python(code, folder, COMMAND, *arguments)


EXCLUDE = """
from pipeline.exclusions import frames_of, write_exclusions
from pipeline.shards import Dataset
dataset = Dataset("labelled")
[video] = [name for name in dataset.shards() if name.startswith("video")]
write_exclusions(dataset, frames_of(dataset.open(video))[-1:])
"""
STOPPED_TRAINING = f"""
import os, signal, sys
import train.trainer
def stop(step, learner):
    if step == {STOPPED_AFTER}:
        os.kill(os.getpid(), signal.SIGINT)
whole = train.trainer.train
train.trainer.train = lambda *arguments: whole(*arguments, on_step=stop)
try:
    freelabels.main(sys.argv[1:])
except SystemExit as end:
    assert end.code == freelabels.INTERRUPTED, end.code
"""


SHARD_NAME = re.compile(r".*\.\d+")  # in an object store the name of an attempt follows


def columns(dataset: Path, packed: bool) -> dict[str, dict[str, str]]:
    """sha256 of every column's values, in C order, by shard and column, as zarr-python reads them."""
    folders = {p.name: p for p in sorted(dataset.iterdir()) if p.is_dir() and not p.name.startswith(".")}
    stores: dict[str, Any] = newest_packs(dataset) if packed else folders
    return {
        SHARD_NAME.match(name)[0]: {
            column: hashlib.sha256(np.ascontiguousarray(array[:]).tobytes()).hexdigest()
            for column, array in sorted(zarr.open_group(store, mode="r").arrays())
        }
        for name, store in stores.items()
    }


def newest_packs(dataset: Path) -> dict[str, Any]:
    """By shard, a store for zarr-python of the newest revision's files, wherever the packs hold them."""
    packs = {path.stem: path for path in sorted(dataset.glob("shards/*/*.pack"))}
    newest = {name.rpartition(".")[0]: name for name in packs}  # revisions of one digit
    found = {}
    for name in sorted(newest.values()):
        files = json.loads(packs[name].read_bytes().partition(b"\n")[0])["files"]
        refs = {
            f: [str(packs[more[0] if more else name]), at, size] for f, (at, size, *more) in files.items()
        }
        system = fsspec.filesystem("reference", fo=refs, asynchronous=True, skip_instance_cache=True)
        found[name] = zarr.storage.FsspecStore(system, read_only=True)
    return found


def losses(metrics: Path) -> list[dict[str, float]]:
    """The losses of every step of a run."""
    return [line["losses"] for line in map(json.loads, metrics.read_text().splitlines()) if "losses" in line]


def make(version: Version, code: Path, folder: Path) -> dict[str, Any]:
    """Make the datasets, and the run, of a version in `folder`; returns what its code reads from them."""
    expected: dict[str, Any] = {"commit": version.commit, "inspect": {}, "columns": {}}
    for labels in (version.labels, version.later or version.labels) * 2:  # at last only the index is written
        run(code, folder, *version.label(labels))
        if version.clips:
            run(code, folder, *version.render)
    if version.exclusions:
        python(code, folder, EXCLUDE)
    for dataset in ("labelled", "rendered") if version.clips else ("labelled",):
        address = f"s3://bucket/{dataset}" if version.store else dataset
        run(code, folder, "verify", address)
        figures = json.loads(run(code, folder, "inspect", address, "--json"))
        expected["inspect"][dataset] = {key: value for key, value in figures.items() if key != "dataset"}
        if version.store:
            fsspec.filesystem("s3").get(f"bucket/{dataset}", os.fspath(folder / dataset), recursive=True)
        expected["columns"][dataset] = columns(folder / dataset, version.packed)
    if version.run:
        run(code, folder, *TRAIN)
        expected["losses"] = losses(folder / "run" / "metrics.jsonl")
        shutil.rmtree(folder / "run")
        python(code, folder, STOPPED_TRAINING, *TRAIN)
        for path in list((folder / "run").iterdir()):  # TensorBoard's files name the machine
            if path.name not in RUN_FILES:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return expected


@contextmanager
def store() -> Iterator[None]:
    """An S3 server with an empty bucket, found by the environment."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    fsspec.filesystem("s3").mkdir("bucket")
    yield
    server.stop()


def pack(folder: Path, archive: Path) -> None:
    """Pack a folder; the same files give the same bytes."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime = member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mode = 0o755 if member.isdir() else 0o644
        return member

    with tarfile.open(archive, "w:xz", preset=9) as packed:  # adds what lies in folders in order of names
        packed.add(folder, arcname=".", filter=plain)


def main() -> None:
    """Make one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=["sources", *VERSIONS])
    parser.add_argument("--at", type=Path, default=Path("/data/fixtures"), help="records name sources in it")
    given = parser.parse_args()
    if given.name == "sources":
        write_sources(HERE / "sources")
        return
    version, folder = VERSIONS[given.name], given.at / given.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copytree(HERE / "sources", given.at / "sources", dirs_exist_ok=True)
    with tempfile.TemporaryDirectory() as code:
        files = subprocess.run(
            ["git", "archive", version.commit], cwd=HERE.parent.parent, stdout=subprocess.PIPE, check=True
        )
        with tarfile.open(fileobj=io.BytesIO(files.stdout)) as unpacked:
            unpacked.extractall(code, filter="data")
        with store() if version.store else nullcontext():
            expected = make(version, Path(code), folder)
    pack(folder, HERE / f"{given.name}.tar.xz")
    (HERE / f"{given.name}.json").write_text(json.dumps(expected, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
