"""A run's network, heads and all, as one file that runs without this package: ONNX, or a torch.export program."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from freelabels.generators.contract.fields import field
from freelabels.ground.errors import UserError
from freelabels.ground.spelling import nearest
from freelabels.train.predicting.student import STEP, Student, load_student

FORMS = ("onnx", "torch")
FILES = {"onnx": "network.onnx", "torch": "network.pt2"}
ABOUT = "network.json"
OPSET = 18


class Values(nn.Module):
    """Images (N, 3, side, side), float32 0 … 255 sRGB → labels in their own units, (N, C, side, side) each."""

    def __init__(self, network: nn.Module, values: Sequence[Callable[[Tensor], Tensor]]):
        super().__init__()
        self.network, self._values = network, tuple(values)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """One map a label, in the order of `network.json`."""
        answers = self.network(image)
        return tuple(value(answer) for value, answer in zip(self._values, answers, strict=True))


def export_program(run: str, out: Path, form: str) -> Path:
    """Write ``network.onnx`` or ``network.pt2``, and ``network.json``, which says what goes in and comes out.

    The side of the images is that of the training's views, their number is free. Raises UserError for another
    form, where a package is missing, and for a network that can't be exported.
    """
    if form not in FORMS:
        raise UserError(f"--to {form}: {nearest(form, ('timm', *FORMS))}")
    if form == "onnx" and (lacks := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]):
        raise UserError(f"--to onnx needs {lacks[0]}, which is not installed: pip install 'freelabels[onnx]'")
    student = load_student(run, "cpu")
    side = student.config.loader.size
    module = Values(student.network, [task.value for task in student.tasks.values()]).eval()
    example = (torch.zeros(2, 3, side, side),)
    shapes = ({0: torch.export.Dim("images", min=1)},)
    path = out / FILES[form]
    try:
        out.mkdir(parents=True, exist_ok=True)
        if form == "torch":
            torch.export.save(torch.export.export(module, example, dynamic_shapes=shapes), path)
        else:
            torch.onnx.export(
                module,
                example,
                str(path),
                dynamo=True,
                verbose=False,
                external_data=False,
                opset_version=OPSET,
                input_names=["image"],
                output_names=list(student.tasks),
                dynamic_shapes=shapes,
            )
        (out / ABOUT).write_text(json.dumps(_about(student), indent=1) + "\n")
    except OSError as error:
        raise UserError(f"{out} can't be written ({error.strerror or error}); name another folder") from error
    except Exception as error:  # torch has dozens of kinds for what it can't follow
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        name = student.config.model.backbone
        raise UserError(f"the network with {name} can't be exported as {form} ({reason})") from error
    return path


def _about(student: Student) -> dict[str, Any]:
    """What goes in and comes out, ready for JSON."""
    side = student.config.loader.size
    labels = []
    for name in student.tasks:
        spec = field(name)
        labels.append({"name": name, "kind": str(spec.kind), "meaning": spec.meaning, "unit": spec.unit})
    return {
        "image": {"shape": ["images", 3, side, side], "values": "sRGB, float32, 0 to 255"},
        "multiple": STEP,
        "backbone": student.config.model.backbone,
        "step": student.step,
        "labels": labels,
        "note": "probabilities are 0 to 1, vectors are channels; confidences are made by freelabels predict",
    }
