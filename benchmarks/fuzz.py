"""Damaged photos and videos: none may crash a worker or keep it for ever; each is used, or refused by a sentence.

    python -m benchmarks.fuzz                                   # 300 stills and 60 videos, half a minute
    python -m benchmarks.fuzz --stills 2000 --videos 300        # in full, two minutes

Whole files of 15 picture formats and 11 containers are made, then bytes are flipped, cut out, cut off, doubled,
zeroed or taken from another file, by a seed. Each damaged file goes the way a source goes: found, examined, its
clips read. It does so in another process, which is ended if it takes longer than `--limit` seconds and replaced if
it dies.

Cost: half a minute; in full two minutes.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import random
import struct
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.tools.command import run
from freelabels.pipeline.sources.clip_specs import SourceOptions
from freelabels.pipeline.sources.decode import read
from freelabels.pipeline.sources.examine import examine
from freelabels.pipeline.sources.find import Item, find
from freelabels.pipeline.storage.uris import SourceError

RGB = NDArray[np.uint8]
SIDE = 64
USED, REFUSED, BAD = "used", "refused", "bad"
FRAMES = 24
VIDEOS: dict[str, tuple[str, str, dict[str, str]]] = {  # suffix → codec, pixel format, options
    "mp4": ("libx264", "yuv420p", {"g": "6"}),
    "mkv": ("libx265", "yuv420p10le", {"x265-params": "keyint=6:log-level=none:pools=1"}),
    "avi": ("mpeg4", "yuv420p", {"g": "6"}),
    "mpg": ("mpeg2video", "yuv420p", {"g": "6", "flags": "+ildct+ilme"}),
    "ts": ("libx264", "yuv420p", {"g": "6", "x264-params": "tff=1"}),
    "webm": ("libvpx-vp9", "yuv420p", {"g": "6"}),
    "mov": ("prores_ks", "yuv422p10le", {}),
    "wmv": ("wmv2", "yuv420p", {"g": "6"}),
    "flv": ("flv", "yuv420p", {"g": "6"}),
    "mxf": ("mpeg2video", "yuv420p", {"g": "6"}),
    "ogv": ("libvpx", "yuv420p", {"g": "6"}),
}


def photo(number: int) -> RGB:
    """A textured picture."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (SIDE + FRAMES, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth // 2 + rng.integers(0, 100, smooth.shape, dtype=np.uint8), np.uint8)


def encoded(suffix: str, frames: list[RGB]) -> bytes:
    """A whole video."""
    codec, pix_fmt, options = VIDEOS[suffix]
    with tempfile.TemporaryDirectory() as scratch:
        path = f"{scratch}/a.{suffix}"
        with av.open(path, "w", format={"ogv": "ogg"}.get(suffix)) as file:
            stream: Any = file.add_stream(codec, rate=25, options=options)
            stream.height, stream.width, stream.pix_fmt = SIDE, SIDE, pix_fmt
            for frame in frames:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            file.mux(stream.encode())
        return Path(path).read_bytes()


def whole_videos() -> list[tuple[str, bytes]]:
    """One file of each container, by suffix."""
    wide = photo(1)
    frames = [np.ascontiguousarray(wide[:, k : k + SIDE]) for k in range(FRAMES)]
    return [(suffix, encoded(suffix, frames)) for suffix in VIDEOS]


def whole_stills() -> list[tuple[str, bytes]]:
    """One file or more of each picture format, by suffix."""
    made: list[tuple[str, bytes]] = []
    picture = photo(2)[:, :SIDE]
    image = Image.fromarray(picture)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[41989] = 35
    ways: dict[str, dict[str, object]] = {
        "jpg": {"exif": exif, "quality": 90},
        "png": {"exif": exif},
        "webp": {"exif": exif},
        "tif": {"compression": "tiff_lzw"},
        **{suffix: {} for suffix in ("bmp", "tga", "ppm", "jp2", "avif", "qoi", "sgi", "pcx")},
    }
    for suffix, options in ways.items():
        stream = io.BytesIO()
        image.save(
            stream, {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}.get(suffix, suffix.upper()), **options
        )
        made.append((suffix, stream.getvalue()))
    for suffix in ("gif", "webp", "png"):
        stream, rest = io.BytesIO(), [Image.fromarray(np.roll(picture, 2 * k, 1)) for k in range(1, 6)]
        image.save(stream, suffix.upper(), save_all=True, append_images=rest, duration=50)
        made.append((suffix, stream.getvalue()))
    for suffix, pixels in (
        (".png", picture.astype(np.uint16) * 257),
        (".tiff", picture.astype(np.uint16) * 16),
    ):
        made.append((suffix[1:], cv2.imencode(suffix, pixels)[1].tobytes()))
    for suffix in (".hdr", ".pfm"):
        made.append((suffix[1:], cv2.imencode(suffix, picture.astype(np.float32) / 255)[1].tobytes()))
    png = made[1][1]
    text = zlib.compress(os.urandom(1000))
    chunk = struct.pack(">I", len(text) + 9) + b"zTXtComment\0\0" + text
    made.append(("png", png[:33] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + png[33:]))
    return made


def damaged(data: bytes, other: bytes, dice: random.Random) -> bytes:
    """A file with one to three kinds of damage."""
    for _ in range(dice.randint(1, 3)):
        if len(data) < 16:
            break
        start = dice.randrange(len(data))
        length = min(len(data) - start, int(dice.lognormvariate(3, 2)) + 1)
        kind = dice.choice(("flip", "flip", "cut out", "cut off", "double", "zero", "splice"))
        if kind == "flip":
            flipped = bytearray(data)
            for _ in range(dice.choice((1, 1, 4, 32))):
                flipped[
                    dice.randrange(len(data)) if dice.random() < 0.7 else dice.randrange(min(64, len(data)))
                ] ^= 1 << dice.randrange(8)
            data = bytes(flipped)
        elif kind == "cut out":
            data = data[:start] + data[start + length :]
        elif kind == "cut off":
            data = data[: max(1, start)]
        elif kind == "double":
            data = data[: start + length] + data[start:]
        elif kind == "zero":
            data = data[:start] + bytes(length) + data[start + length :]
        else:
            place = dice.randrange(len(other))
            data = data[:start] + other[place : place + length] + data[start + length :]
    return data


def outcome(path: str) -> tuple[str, str]:
    """(USED, REFUSED or BAD, why) of a file that goes the way of a source."""
    clips = 0
    reasons: list[str] = []
    try:
        for item in find([path]):
            if not isinstance(item, Item):
                reasons.append(item.reason)
                continue
            found = examine(item, SourceOptions(fps=None, clip_length=8))
            reasons += [refusal.reason for refusal in found.refusals]
            for clip in found.clips:
                if len(read(clip, (32, 32))) != clip.frames:
                    return BAD, f"a clip of {clip.frames} frames is read otherwise"
                clips += 1
    except (SourceError, OSError) as error:
        return BAD, f"examined, but then: {error}"
    except Exception as error:
        return BAD, f"{type(error).__name__}: {error}"
    if any(not reason or "\n" in reason or len(reason) > 300 for reason in reasons) or not clips + len(
        reasons
    ):
        return BAD, f"no sentence: {reasons}"
    return (USED, "") if clips else (REFUSED, reasons[0])


def serve(pipe: Connection) -> None:
    """What a process does: paths in, outcomes out."""
    cv2.setNumThreads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders' own remarks
    while path := pipe.recv():
        pipe.send(outcome(path))


@dataclass
class Worker:
    """A process that examines files, made anew whenever it was lost."""

    limit: float
    process: multiprocessing.process.BaseProcess | None = None
    pipe: Connection | None = None

    def examine(self, path: str) -> tuple[str, str]:
        """The outcome of a file; BAD if the process dies or takes too long."""
        if self.process is None or self.pipe is None:
            context = multiprocessing.get_context("spawn")
            self.pipe, theirs = context.Pipe()
            self.process = context.Process(target=serve, args=(theirs,), daemon=True)
            self.process.start()
            theirs.close()
            self.pipe.send(os.devnull)  # importing is not part of the limit
            self.pipe.recv()
        self.pipe.send(path)
        try:
            if self.pipe.poll(self.limit):
                result: tuple[str, str] = self.pipe.recv()
                return result
            why = f"took longer than {self.limit:g} s"
        except EOFError:
            self.process.join()
            why = f"its process died ({self.process.exitcode})"
        self.close()
        return BAD, why

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
        self.process = self.pipe = None


def fuzz(
    kind: str,
    wholes: Callable[[], list[tuple[str, bytes]]],
    count: int,
    seed: int,
    limit: float,
    keep: Path | None,
) -> int:
    """Examine so many damaged files; prints what came of them, returns how many ended badly."""
    files, worker, begun = wholes(), Worker(limit), time.perf_counter()
    table: dict[str, Counter[str]] = {}
    bad: list[str] = []
    slowest = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        for suffix, data in files:
            path = Path(scratch) / f"whole.{suffix}"
            path.write_bytes(data)
            result, why = worker.examine(str(path))
            if result != USED:
                raise SystemExit(f"the whole {suffix} is not used: {why}")
        for number in range(count):
            dice = random.Random(f"{seed}-{kind}-{number}")
            suffix, data = files[number % len(files)]
            path = Path(scratch) / f"{number}.{suffix}"
            path.write_bytes(damaged(data, dice.choice(files)[1], dice))
            started = time.perf_counter()
            result, why = worker.examine(str(path))
            slowest = max(slowest, time.perf_counter() - started)
            table.setdefault(suffix, Counter())[result] += 1
            if result == BAD:
                bad.append(f"{path.name}: {why}")
                if keep:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / path.name).write_bytes(path.read_bytes())
            path.unlink()
        worker.close()
    print(f"\n| {kind} | used | refused in one sentence | neither |\n|---|---|---|---|")
    for suffix, results in sorted(table.items()):
        print(f"| {suffix} | {results[USED]} | {results[REFUSED]} | {results[BAD]} |")
    total = sum(table.values(), Counter[str]())
    print(f"| all {count} | {total[USED]} | {total[REFUSED]} | {total[BAD]} |")
    print(f"\n{time.perf_counter() - begun:.0f} s, the slowest file {slowest:.1f} s")
    for line in bad:
        print(line)
    return len(bad)


def main(
    stills: int = 300, videos: int = 60, seed: int = 0, limit: float = 20.0, keep: Path | None = None
) -> None:
    """Damage whole files and see what comes of them.

    Args:
        stills: How many damaged pictures.
        videos: How many damaged videos.
        seed: Of the damage.
        limit: Seconds that one file may take.
        keep: Folder for files that end badly.
    """
    bad = fuzz("stills", whole_stills, stills, seed, limit, keep)
    bad += fuzz("videos", whole_videos, videos, seed, limit, keep)
    if bad:
        raise SystemExit(1)


if __name__ == "__main__":
    run(main, __doc__)
