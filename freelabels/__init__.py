"""Training labels that no human drew: detectors on real images, exact renders, zarr shards, multitask training.

The public face: every name below is imported from the layer that defines it when it is first asked for, so that
`import freelabels` itself costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freelabels.generators.contract.clip import Clip
    from freelabels.generators.contract.detector import register
    from freelabels.generators.contract.fields import Array, Field, as_bytes
    from freelabels.ground.errors import UserError
    from freelabels.pipeline.cards import card
    from freelabels.pipeline.quality.verify import verify
    from freelabels.pipeline.shards.dataset import Dataset
    from freelabels.pipeline.stages.calibrate import calibrate
    from freelabels.pipeline.stages.label import label
    from freelabels.pipeline.stages.render import render
    from freelabels.pipeline.viewer.inspect import inspect
    from freelabels.train.export import export
    from freelabels.train.probing.probe import probe
    from freelabels.train.run.trainer import fit

# name → module that defines it
_HOME = {
    "label": "pipeline.stages.label",
    "render": "pipeline.stages.render",
    "calibrate": "pipeline.stages.calibrate",
    "verify": "pipeline.quality.verify",
    "inspect": "pipeline.viewer.inspect",
    "card": "pipeline.cards",
    "Dataset": "pipeline.shards.dataset",
    "fit": "train.run.trainer",
    "probe": "train.probing.probe",
    "export": "train.export",
    "Array": "generators.contract.fields",
    "Clip": "generators.contract.clip",
    "Field": "generators.contract.fields",
    "as_bytes": "generators.contract.fields",
    "register": "generators.contract.detector",
    "UserError": "ground.errors",
}

__all__ = [
    "Array",
    "Clip",
    "Dataset",
    "Field",
    "UserError",
    "as_bytes",
    "calibrate",
    "card",
    "export",
    "fit",
    "inspect",
    "label",
    "probe",
    "register",
    "render",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home. Raises AttributeError for any other name."""
    if name not in _HOME:
        raise AttributeError(f"module 'freelabels' has no attribute {name!r}")
    value = getattr(import_module(f"freelabels.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
