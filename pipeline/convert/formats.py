"""The formats that a dataset can be converted to, by name, and the call that does it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from freelabels.ground.errors import CorruptShard, UserError
from freelabels.ground.spelling import nearest
from freelabels.pipeline.convert import folders
from freelabels.pipeline.convert.cameras import cameras
from freelabels.pipeline.convert.coco import coco
from freelabels.pipeline.convert.frames import Source
from freelabels.pipeline.convert.tables import huggingface, parquet
from freelabels.pipeline.convert.ultralytics import ultralytics
from freelabels.pipeline.convert.webdataset import webdataset
from freelabels.pipeline.shards.dataset import Dataset


@dataclass(frozen=True)
class Format:
    """A way out. about: one line; write: into an empty folder, returns how many frames."""

    about: str
    write: Callable[[Source, Path], int]


FORMATS: Mapping[str, Format] = {
    "coco": Format("instances of renders, superpixels of real frames: boxes, masks, classes", coco),
    "webdataset": Format("tars of PNG and NPY, for streaming", webdataset),
    "png": Format("a folder a field, a PNG a frame; depth in millimetres, flow as KITTI", folders.png),
    "npy": Format("a folder a field, arrays exactly as stored", folders.npy),
    "exr": Format("a folder a field, real numbers as OpenEXR, the others as PNG", folders.exr),
    "cameras": Format("frames as cameras record them, pairs and measured depth too, for `label`", cameras),
    "ultralytics": Format("images and depth in metres, as Ultralytics' depth models train on", ultralytics),
    "parquet": Format("one table: a row a frame with thumbnail and statistics", parquet),
    "huggingface": Format("a dataset folder for datasets.load_dataset, with a card", huggingface),
}


@dataclass(frozen=True)
class Converted:
    """What was written."""

    out: str
    format: str
    frames: int


def convert(
    path: str | os.PathLike[str],
    to: str,
    out: str | os.PathLike[str],
    *,
    fields: Sequence[str] = (),
    places: bool = False,
) -> Converted:
    """Write the dataset at `path` as another format into the folder `out`, which must not hold anything.

    to: a key of `FORMATS`. fields: the labels to take, default all; their confidences come with them. places: keep
    paths from the root of this machine; else their last folder and name. Frames on the exclusion list are left
    out. Beside the files stands what they mean and what made them. The folder is there when all of it is. Raises
    UserError.
    """
    if to not in FORMATS:
        raise UserError(f"--to {to}: there is no such format: {nearest(to, FORMATS)}")
    source, target = Source(Dataset(path), tuple(fields), places), Path(out)
    if not len(source.index):
        raise UserError(f"{path} holds no shards yet; label or render into it first")
    _ = source.columns  # raises for fields that are not there
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} holds something already; name an empty or a new folder with --out")
    scratch = target.parent / f".{target.name}.part"
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        frames = FORMATS[to].write(source, scratch)
        if target.exists():
            target.rmdir()
        scratch.rename(target)
    except CorruptShard as error:
        raise UserError(f"{error}; freelabels verify --repair {path} takes out what is broken") from error
    except OSError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"can't write {target} ({error.strerror or error})") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Converted(str(target), to, frames)
