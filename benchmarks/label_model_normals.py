"""How to make one normal of several planes.

    python -m benchmarks.label_model_normals [--clips 6]

Cues: planes in narrow windows, in wide windows, and over colour segments. Compared: each alone, the one that
agrees most with the others (a majority vote), their mean, the mean weighted by how far each agrees with the
majority over the data set (a reliability that needs no truth), the mean weighted by confidence, and what
`generators.normals` makes of narrow and wide windows. On rendered stereo pairs and on scikit-image's motorcycle.

Cost: about 45 CPU seconds.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.label_model import RENDER_SEED
from benchmarks.labels.normals import RIGHT, motorcycle
from benchmarks.tools.command import run
from freelabels.generators.contract.clip import Clip
from freelabels.generators.depth.stereo import Stereo
from freelabels.generators.normals import Normals
from freelabels.generators.tools.segment_planes import continued_by_segments
from freelabels.pipeline.stages.calibrate import calibration_options, rendered_views

Floats = NDArray[np.float64]
NARROW, WIDE = Normals().radius, Normals().wide_radius
CUES = ("narrow windows", "wide windows", "colour segments")
COSINE = np.cos(np.radians(RIGHT))
FRAMES = 8  # of a rendered clip


def rendered_pairs(clips: int) -> Iterator[tuple[Clip, Floats]]:
    """Stereo clips and true normals (T, H, W, 3)."""
    options = calibration_options(RENDER_SEED, FRAMES, (256, 256))
    for number in range(clips):
        clip, truth = rendered_views(options[number % len(options)], number)["stereo"]
        yield clip, truth["normals"].astype(np.float64)


def planes(clip: Clip) -> tuple[Floats, Floats, Floats]:
    """Normals of the cues (3, T, H, W, 3), their confidence (3, T, H, W), and the detector's normals."""
    clip = clip.with_labels(Stereo()(clip))
    disparity, trust = clip.labels["disparity"], clip.labels["disparity_confidence"]
    continued = np.stack(
        [
            continued_by_segments(np.nan_to_num(d.astype(np.float32)), (c / 255).astype(np.float32), image)
            for d, c, image in zip(disparity, trust, clip.image, strict=True)
        ]
    )
    segments = {
        "disparity": np.where(np.isfinite(continued), continued, disparity),
        "disparity_confidence": trust,
    }
    made = [
        Normals(radius=NARROW, wide_radius=NARROW)(clip),
        Normals(radius=WIDE, wide_radius=WIDE)(clip),
        Normals(radius=NARROW, wide_radius=NARROW)(clip.with_labels(segments)),
    ]
    return (
        np.stack([each["normals"].astype(np.float64) for each in made]),
        np.stack([each["normals_confidence"] / 255 for each in made]),
        Normals()(clip)["normals"].astype(np.float64),
    )


def methods(cues: Floats, trust: Floats, ours: Floats) -> dict[str, Floats]:
    """Normals (N, 3) by method, of cues (3, N, 3) with confidence (3, N)."""
    agreement = np.einsum("jnk,lnk->jln", cues, cues).sum(axis=1)
    majority = np.take_along_axis(cues, agreement.argmax(axis=0)[None, :, None], axis=0)[0]
    reliable = ((cues * majority).sum(axis=-1) > COSINE).mean(axis=1)
    weight = np.log(reliable / (1 - reliable))
    return {
        **{f"{name} alone": cue for name, cue in zip(CUES, cues, strict=True)},
        "majority vote": majority,
        "mean": cues.mean(axis=0),
        "mean, weighted by reliability": np.einsum("j,jnk->nk", weight, cues),
        "mean, weighted by confidence": np.einsum("jn,jnk->nk", trust, cues),
        "ours": ours,
    }


def main(*, clips: int = 6) -> None:
    """Print a table: data, method, median error, mean error, share within 22.5°, of all pixels with a truth.

    Args:
        clips: How many rendered clips.
    """
    cv2.setNumThreads(1)
    print("| data | method | median ° | mean ° | < 22.5° |\n|---|---|---|---|---|")
    pair, true = motorcycle()
    for name, source in (
        ("renders, stereo", rendered_pairs(clips)),
        ("motorcycle, stereo", [(pair, true[None])]),
    ):
        parts = []
        for clip, truth in source:
            cues, trust, ours = planes(clip)
            known = truth.any(axis=-1) & cues.any(axis=-1).all(axis=0) & ours.any(axis=-1)
            parts.append((cues[:, known], trust[:, known], ours[known], truth[known]))
        cues, trust = (np.concatenate([part[k] for part in parts], axis=1) for k in (0, 1))
        ours, truth = (np.concatenate([part[k] for part in parts]) for k in (2, 3))
        for method, found in methods(cues, trust, ours).items():
            length = np.maximum(np.linalg.norm(found, axis=-1), 1e-9)
            cosine = (found * truth).sum(axis=-1) / length
            error = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
            share = float((cosine > COSINE).mean())
            print(
                f"| {name} | {method} | {np.median(error):.1f} | {error.mean():.1f} | {share:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    run(main, __doc__)
