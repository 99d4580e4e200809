"""What the README shows works as written."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from freelabels.generators.contract import detector as registry
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.fields import field
from freelabels.generators.contract.geometry import intrinsics_from_fov

README = Path(__file__).parent.parent / "README.md"


def test_the_detector_of_the_readme_keeps_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    [source] = re.findall(r"```python\n(# brightness_edges.py.*?)```", README.read_text(), re.S)
    assert len(source.splitlines()) <= 33
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    module = types.ModuleType("brightness_edges")
    monkeypatch.setitem(sys.modules, "brightness_edges", module)
    exec(source, module.__dict__)
    image = np.zeros((2, 32, 32, 3), np.uint8)
    image[:, :, 16:] = 200
    made = module.BrightnessEdges()(Clip(image, np.arange(2.0), intrinsics_from_fov(60, 32, 32)))
    for name, values in made.items():
        field(name).check(values)
    assert made["edges"][0, 16].argmax() in (15, 16) and made["edges"][0, 16, 2] == 0


def test_every_command_of_the_readme_exists() -> None:
    from freelabels.cli.main import COMMANDS, HEAVY

    used = set(re.findall(r"^(?:\.venv/bin/)?freelabels (\w+)", README.read_text(), re.M))
    assert used and used <= {*COMMANDS, *HEAVY}


def test_the_field_table_is_the_contract() -> None:
    from freelabels.generators.contract.fields import BUILT_IN

    listed = re.findall(r"^\| (\w+) \| (\w+) \(frame", README.read_text(), re.M)
    assert [(f.name, f.dtype) for f in BUILT_IN] == listed
