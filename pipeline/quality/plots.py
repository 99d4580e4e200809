"""Charts, by matplotlib's figures without its global state; the same data give the same bytes.

Matplotlib takes half a second to import, so it is only when something is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from freelabels.pipeline.quality.reliability import Tally

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")  # Okabe and Ito, told apart by everybody
DOTS_PER_INCH = 100


def new_figure(width: int, height: int) -> Figure:
    """An empty figure of so many pixels, whose parts make room for each other."""
    from matplotlib.figure import Figure

    size = width / DOTS_PER_INCH, height / DOTS_PER_INCH
    return Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG that doesn't name the version of what drew it. Raises OSError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    # As Figure.savefig, which draws it once more before, all for the layout that drawing makes anyway.
    FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})  # type: ignore[no-untyped-call]


def draw_reliability(title: str, curves: Mapping[str, Tally], path: Path) -> None:
    """Write a PNG: share of right labels over confidence, a curve per name, larger dots for fuller bins."""
    figure = new_figure(450, 450 + 20 * len(curves))
    axes = figure.add_subplot(
        title=title, xlabel="confidence", ylabel="share of right labels", aspect="equal"
    )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(color="#e6e6e6")
    axes.axline((0, 0), slope=1, color="#888888", linewidth=1)
    for k, (name, tally) in enumerate(curves.items()):
        colour = COLOURS[k % len(COLOURS)]
        count, said, right = tally.bins()
        some = count > 0
        label = f"{name}: ECE {tally.calibration_error:.3f}"
        axes.plot(said[some], right[some], color=colour, label=label)
        area = 10 + 200 * count[some] / max(count.sum(), 1)
        axes.scatter(said[some], right[some], area, facecolors="none", edgecolors=colour, linewidths=1.5)
    if curves:
        figure.legend(loc="outside lower left", frameon=False)
    save_png(figure, path)
