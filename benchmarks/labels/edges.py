"""Boundary benchmark: ODS, OIS and AP of edge maps against people's drawings, with one-to-one matching."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import process_time

import cv2
import numpy as np

from benchmarks.labels.footage import HALVES, Image, Mask, drawn_images
from benchmarks.labels.metrics import Row
from freelabels.generators.contract.fields import as_bytes
from freelabels.generators.edges import ContourEdges
from freelabels.train.probing.transfer.boundaries import STEPS, Counts, count, score, thresholded


def canny(image: Image) -> Iterator[Mask]:
    """The baseline: OpenCV's Canny on grey, σ 2.8, at STEPS geometric thresholds."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 2.8)
    for high in np.geomspace(300, 10, STEPS):
        yield cv2.Canny(grey, 0.4 * high, high, L2gradient=True) > 0


def edge_rows(data: Path | None, half: str = "") -> Iterator[Row]:
    """Our edges and Canny against people's drawings, each half apart; ms is CPU time per image."""
    for each in [half] if half else HALVES:
        yield from _half_rows(data, each)


def _half_rows(data: Path | None, half: str) -> Iterator[Row]:
    detector = ContourEdges()

    def ours(image: Image) -> Iterator[Mask]:
        return thresholded(as_bytes(detector.frame(image)[0]))

    counts: dict[str, list[Counts]] = {}
    spent: dict[str, float] = {}
    for image, boundaries, _ in drawn_images(data, half=half):
        for name, method in (("edges", ours), ("Canny, σ 2.8", canny)):
            start = process_time()
            maps = list(method(image))
            spent[name] = spent.get(name, 0.0) + process_time() - start
            counts.setdefault(name, []).append(count(iter(maps), list(boundaries)))
    for name, each in counts.items():
        found = score(each)
        values = {"ODS": found.ods, "OIS": found.ois, "AP": found.ap, "ms": 1e3 * spent[name] / len(each)}
        for metric, value in values.items():
            yield {
                "label": "edges",
                "data": f"BSDS, {half} half",
                "method": name,
                "metric": metric,
                "value": value,
            }
