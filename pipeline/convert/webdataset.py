"""WebDataset: tars of samples, each KEY.FIELD.png or KEY.FIELD.npy for its maps and KEY.json for the rest."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from freelabels.generators.contract.fields import Kind, field
from freelabels.pipeline.convert.coding import as_npy, as_png
from freelabels.pipeline.convert.folders import write_about
from freelabels.pipeline.convert.frames import Source

SAMPLES = 512  # in a tar, at least, unless it is the last


def webdataset(source: Source, out: Path) -> int:
    """Write ``frames-000000.tar`` and so on; returns how many frames. A clip stays in one tar.

    Of a dataset with splits ``train-000000.tar``, ``val-000000.tar``, ``test-000000.tar`` and so on.
    """
    count = sum(_tars(source, split, out) for split in source.splits)
    write_about(source, out)
    return count


def _tars(source: Source, split: str, out: Path) -> int:
    count = begun = tars = 0
    tar = tarfile.open(out / f"{split or 'frames'}-000000.tar", "w")  # noqa: SIM115
    try:
        for clip in source.clips(split):
            if count - begun >= SAMPLES:
                tar.close()
                begun, tars = count, tars + 1
                tar = tarfile.open(out / f"{split or 'frames'}-{tars:06d}.tar", "w")  # noqa: SIM115
            for k, key in enumerate(clip.keys):
                for name in source.columns:
                    if name not in clip.columns:
                        continue
                    values = clip.columns[name][k]
                    if field(name).kind in (Kind.IMAGE, Kind.PROBABILITY, Kind.CONFIDENCE, Kind.CATEGORY):
                        _add(tar, f"{key}.{name}.png", as_png(name, values)[0])
                    else:
                        _add(tar, f"{key}.{name}.npy", as_npy(values))
                _add(tar, f"{key}.json", json.dumps(clip.about[k]).encode())
                count += 1
    finally:
        tar.close()
    return count


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A file without owner and time, so that the same dataset gives the same bytes."""
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))
