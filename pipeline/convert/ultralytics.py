"""The layout that Ultralytics' depth models train on: images, and depth in metres as NPY of the same name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from freelabels.generators.contract.fields import confidence_name
from freelabels.ground.errors import UserError
from freelabels.pipeline.convert.coding import as_npy, as_png
from freelabels.pipeline.convert.folders import write_about
from freelabels.pipeline.convert.frames import Source
from freelabels.pipeline.shards.splits import SPLITS, TRAIN, VAL

DEPTH, CONFIDENCE = "depth", "confidence"


def ultralytics(source: Source, out: Path) -> int:
    """Write ``images/SPLIT/KEY.png``, ``depth/SPLIT/KEY.npy`` and ``dataset.yaml``; returns how many frames.

    Depth is float32 (y, x) in metres, 0 where it is unknown, not trusted or background;
    ``confidence/SPLIT/KEY.png`` is × 255. Without splits all is ``train``, and stands for ``val`` too, as a
    comment says. Frames without depth are left out. Raises UserError if there is no depth.
    """
    if DEPTH not in source.columns:
        raise UserError(
            f"{source.dataset.path} holds no depth in metres, so there is nothing for Ultralytics"
        )
    count, there = 0, set[str]()
    for clip in source.clips():
        if DEPTH not in clip.columns:
            continue
        split = clip.split or TRAIN
        if split not in there:
            there.add(split)
            for folder in ("images", DEPTH, CONFIDENCE):
                (out / folder / split).mkdir(parents=True)
        for k, key in enumerate(clip.keys):
            depth = clip.columns[DEPTH][k].astype(np.float32)
            known = np.isfinite(depth)
            if confidence_name(DEPTH) in clip.columns:
                trust = clip.columns[confidence_name(DEPTH)][k]
                known &= trust > 0
                (out / CONFIDENCE / split / f"{key}.png").write_bytes(
                    as_png(confidence_name(DEPTH), trust)[0]
                )
            (out / "images" / split / f"{key}.png").write_bytes(as_png("image", clip.columns["image"][k])[0])
            (out / DEPTH / split / f"{key}.npy").write_bytes(as_npy(np.where(known, depth, np.float32(0))))
            count += 1
    if not count:
        raise UserError(f"no frame of {source.dataset.path} has depth in metres")
    lines = [f"{split}: images/{split}" for split in SPLITS if split in there]
    if VAL not in there:
        lines.append(
            f"val: images/{min(there)}  # no val here: scores on it are of frames that were trained on"
        )
    (out / "dataset.yaml").write_text("\n".join([*lines, "nc: 1", "names:", "  0: depth", ""]))
    write_about(source, out)
    return count
