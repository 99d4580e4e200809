"""What the README shows works as written."""

import re
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from freelabels.generators.contract import detector as registry
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.geometry import intrinsics_from_fov
from freelabels.testing import check_detector

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.slow
def test_the_detector_of_the_readme_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [source] = re.findall(r"```python\n(# brightness_edges.py.*?)```", README.read_text(), re.S)
    assert len(source.splitlines()) <= 33
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    (tmp_path / "brightness_edges.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "brightness_edges", raising=False)
    detector = import_module("brightness_edges").BrightnessEdges()
    check_detector(detector)
    image = np.zeros((2, 32, 32, 3), np.uint8)
    image[:, :, 16:] = 200
    made = detector(Clip(image, np.arange(2.0), intrinsics_from_fov(60, 32, 32)))
    assert made["edges"][0, 16].argmax() in (15, 16) and made["edges"][0, 16, 2] == 0


def test_every_command_of_the_readme_exists() -> None:
    from freelabels.cli.main import COMMANDS

    used = set(re.findall(r"^(?:\.venv/bin/)?freelabels (\w+)", README.read_text(), re.M))
    assert used and used <= set(COMMANDS)


def test_the_field_table_is_the_contract() -> None:
    from freelabels.generators.contract.fields import BUILT_IN

    page = README.parent / "docs" / "fields.md"
    listed = re.findall(r"^\| (\w+) \| (\w+) \(frame", page.read_text(), re.M)
    assert [(f.name, f.dtype) for f in BUILT_IN] == listed
