"""Draws docs/gallery/ and docs/gallery.md: a picture a field, a detector and a family of scenes.

python docs/gallery_pictures.py; needs PyBullet. Renders, and photos that ship with scikit-image.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage import data

from freelabels.generators.contract.clip import BASELINE, CONSECUTIVE, INTRINSICS, SEED, STEREO, Clip
from freelabels.generators.contract.detector import detectors, label_names, labels_made, plan, run_detectors
from freelabels.generators.contract.fields import Array, field, known_field
from freelabels.generators.contract.geometry import intrinsics
from freelabels.generators.contract.pictures import picture
from freelabels.pipeline.stages.calibrate import rendered_views
from freelabels.pipeline.stages.render import RenderOptions
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.draw.scenes import FAMILIES

DOCS = Path(__file__).parent
SIDE, DRAW = 192, 17
# Draws of clips in which things and the camera move; what the first doesn't tell is of the other.
MOVING = (17, 18)
SHOWN = 5  # frame of the clips of 8
OTHERS = 6  # further draws that are looked through for what the first doesn't tell
STEP = 6  # most levels by which a palette may change a pixel of a label


def save(folder: str, name: str, panel: Array) -> str:
    """Write a picture, by a palette where that shows no false borders. Returns its address from the page."""
    path = DOCS / "gallery" / folder / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    height = round(SIDE * panel.shape[0] / panel.shape[1])
    small = Image.fromarray(cv2.resize(panel, (SIDE, height), interpolation=cv2.INTER_AREA))
    by_palette = small.quantize(224, dither=Image.Dither.NONE)
    off = np.abs(np.asarray(by_palette.convert("RGB"), np.int16) - np.asarray(small, np.int16))
    smooth = folder != "families" and name not in ("image", "right_view") and off.max() > STEP
    (small if smooth else by_palette).save(path, optimize=True)
    return f"gallery/{folder}/{name}.png"


def drawable(columns: dict[str, Array]) -> Iterable[str]:
    """Names of what has a picture: labels with a value a pixel, and views."""
    for name in columns:
        if known_field(name) and (field(name).is_label or name in ("image", "right")):
            yield name


def frame_picture(columns: dict[str, Array], name: str, row: int) -> Array:
    """One frame of a column, faded where it is not trusted."""
    trust = columns.get(f"{name}_confidence")
    row = min(row, len(columns[name]) - 1)
    if name in ("image", "right"):
        return columns[name][row]
    return picture(name, columns[name][row], None if trust is None else trust[row])


def families() -> dict[str, str]:
    """The first frame of a draw of each family."""
    found = {}
    for name in FAMILIES:
        options = RenderOptions(
            seed=DRAW, frames=1, size=(SIDE, SIDE), ranges=replace(SceneRanges(), families={name: 1.0})
        )
        columns = rendered_views(options, 0, ("video",))["video"][1]
        found[name] = save("families", name, columns["image"][0])
    return found


def clips() -> list[tuple[Clip, set[str]]]:
    """What detectors are shown, and what it provides: rendered videos, a stereo pair, a photo."""
    still = cv2.resize(data.chelsea(), None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    left, right, _ = data.stereo_motorcycle()

    def photo(image: Array, other: Array | None = None) -> Clip:
        height, width = image.shape[:2]
        K = intrinsics(0.85 * width, width, height)
        baseline = None if other is None else 0.2
        return Clip(
            image[None], np.zeros(1), K, right=None if other is None else other[None], baseline=baseline
        )

    videos = [rendered_views(RenderOptions(seed=k, frames=12), 0, ("video",))["video"][0] for k in MOVING]
    return [
        *((video, {CONSECUTIVE, INTRINSICS, SEED}) for video in videos),
        (photo(left, right), {STEREO, INTRINSICS, BASELINE, SEED}),
        (photo(still), {SEED}),
    ]


def of_detectors() -> dict[str, str]:
    """What each detector makes of the first of the clips in which it tells something."""
    found: dict[str, str] = {}
    for clip, provides in clips():
        chosen = plan(label_names(), frozenset(provides), {}).detectors
        made = run_detectors(clip, chosen)
        for detector in chosen:
            told = [name for name in drawable(made) if name in labels_made(detector) and _tells(made, name)]
            if told and detector.name not in found:
                found[detector.name] = save("detectors", detector.name, frame_picture(made, told[0], SHOWN))
    return found


def _tells(made: dict[str, Array], name: str) -> bool:
    """Whether a label is trusted anywhere, and not the same everywhere."""
    values = np.asarray(made[name][min(SHOWN, len(made[name]) - 1)], np.float64)
    return bool(np.any(made.get(f"{name}_confidence", 1))) and np.nanstd(values) > 0


def table(heads: tuple[str, str, str], rows: Iterable[tuple[str, str, str]]) -> list[str]:
    """A Markdown table."""
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def main() -> None:
    """Draw all, and write the page."""
    cv2.setNumThreads(1)
    columns = rendered_views(RenderOptions(seed=DRAW, frames=8), 0, ("video",))["video"][1]
    names = [name for name in drawable(columns) if not name.endswith("_confidence")]
    of = {name: columns for name in names if _tells(columns, name)}
    for other in range(DRAW + 1, DRAW + 1 + OTHERS):
        if len(of) < len(names):
            more = rendered_views(RenderOptions(seed=other, frames=SHOWN + 1), 0, ("video",))["video"][1]
            of = {name: more for name in names if _tells(more, name)} | of
    fields = [
        (
            f"`{name}`",
            f"![{name}]({save('fields', name, frame_picture(of[name], name, SHOWN))})",
            field(name).meaning,
        )
        for name in names
        if name in of
    ]
    makers = {
        name: ", ".join(
            f"`{label}`" for label in detectors()[name].makes if not label.endswith("_confidence")
        )
        for name in detectors()
    }
    pictures = of_detectors()
    made = [(f"`{name}`", f"![{name}]({there})", makers[name]) for name, there in sorted(pictures.items())]
    places = [
        (f"`{name}`", f"![{name}]({there})", f"`--families {name}`") for name, there in families().items()
    ]
    text = [
        "# Gallery",
        "",
        "Made by `python docs/gallery_pictures.py`. Colours fade to slate where a label is not trusted.",
        "",
        "## Fields",
        "",
        "One frame of a render, with its exact labels; a label that it doesn't tell is of another.",
        "",
        *table(("field", "picture", "meaning"), fields),
        "",
        "## Detectors",
        "",
        "What each makes of a rendered video, of a photo or of a stereo pair: the first that it can use.",
        "",
        *table(("detector", "picture", "makes"), made),
        "",
        "## Families of scenes",
        "",
        "One draw of each; `freelabels render --preview sheet.png --families room=2 street` shows more.",
        "",
        *table(("family", "picture", "option"), places),
        "",
    ]
    (DOCS / "gallery.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()
