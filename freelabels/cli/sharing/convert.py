"""`freelabels convert`: a dataset in a format that other tools read."""

from __future__ import annotations

from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.terminal import DONE, conclude
from freelabels.ground.spelling import counted


def convert(
    dataset: Positional[str],
    /,
    *,
    to: str,
    out: str,
    fields: tuple[str, ...] = (),
    paths: bool = False,
    json: bool = False,
) -> int:
    """Write a dataset as COCO, WebDataset, PNG, NPY or EXR folders, Parquet or a Hugging Face dataset.

    Args:
        dataset: Folder or address (s3://bucket/path) of a dataset.
        to: coco, webdataset, png, npy, exr, cameras, ultralytics, parquet or huggingface.
        out: A new folder.
        fields: Labels to take, default all; their confidences come with them.
        paths: Keep this machine's whole paths of sources; else of each its last folder and its name.
        json: Print the result as JSON.
    """
    done = freelabels.convert(dataset, to, out, fields=fields, places=paths)
    conclude(json, done, f"{counted(done.frames, 'frame')} as {done.format}: {done.out}")
    return DONE
