"""`freelabels export`: a run's backbone for timm, or its whole network as one program."""

from __future__ import annotations

from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.terminal import DONE, say


def export(run: Positional[str], /, *, out: str, trunk: str = "frames", to: str = "timm") -> int:
    """Write a run's backbone as safetensors that timm loads, or its network with heads as ONNX or torch program.

    Args:
        run: Folder of a run.
        out: Folder for the weights and the card.
        trunk: frames, or clips for the one that saw clips, which torchvision loads.
        to: timm; onnx or torch (torch.export) for backbone and heads in one file that needs nothing of ours.
    """
    say(f"weights: {freelabels.export(run, out, trunk, to)}")
    return DONE
