"""`freelabels export`: a run's backbone for timm."""

from __future__ import annotations

from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.terminal import DONE, say


def export(run: Positional[str], /, *, out: str, trunk: str = "frames") -> int:
    """Write a run's backbone as safetensors that timm loads, with a model card.

    Args:
        run: Folder of a run.
        out: Folder for the weights and the card.
        trunk: frames, or clips for the one that saw clips, which torchvision loads.
    """
    say(f"weights: {freelabels.export(run, out, trunk)}")
    return DONE
