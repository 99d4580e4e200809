"""Configurations: readable without torch, and the same after a way through their file."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from freelabels.ground.errors import UserError
from freelabels.train.config import AdversaryConfig, LoaderConfig, TrainConfig
from freelabels.train.run.config_file import difference, read_config, write_config

HEAVY = ("torch", "timm", "cv2", "numpy", "ray", "zarr")
CONFIG = TrainConfig(
    lr=1e-5, tasks=("edges",), loader=LoaderConfig(exclude=("a.json",)), adversary=AdversaryConfig("lsgan")
)
# As the version before this file's writer was exchanged wrote it: nested tables in the order of their names.
OLDER = """tasks = ["edges"]
lr = 1e-05

[adversary]
name = "lsgan"

[data]
real = ["a \\u0022b\\u0022\\u005cc\\u000a"]

[loader]
exclude = ["a.json"]

[loader.augment]
crop = [0.6, 1.0]
"""


def test_configurations_are_imported_without_what_they_configure() -> None:
    code = f"import sys, freelabels.train.config; print([m for m in {HEAVY} if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    data = {"real": ['a "b"\\c\n'], "synthetic": []}
    write_config(tmp_path / "train.toml", CONFIG, data)
    assert read_config(tmp_path / "train.toml") == (CONFIG, data)


def test_files_of_older_versions_are_read(tmp_path: Path) -> None:
    (tmp_path / "train.toml").write_text(OLDER)
    assert read_config(tmp_path / "train.toml") == (CONFIG, {"real": ['a "b"\\c\n']})


def test_what_is_no_configuration_is_said(tmp_path: Path) -> None:
    for text, sentence in (("lr = ", "is not the configuration"), ("speed = 3", "no option 'speed'")):
        (tmp_path / "train.toml").write_text(text)
        with pytest.raises(UserError, match=sentence):
            read_config(tmp_path / "train.toml")


def test_the_first_difference_is_named() -> None:
    changed = replace(CONFIG, loader=replace(CONFIG.loader, batch=5))
    assert difference(CONFIG, changed) == "loader.batch was 16 and is now 5"
    assert difference(CONFIG, replace(CONFIG)) == ""
    assert difference(CONFIG, changed, free=("loader.batch",)) == ""
    assert difference(CONFIG, changed, free=("batch", "loader")) != ""


@pytest.mark.parametrize("line", ['steps = "many"', "lr = true", "[loader]\nsize = 1.5"])
def test_a_value_of_another_type_is_said(tmp_path: Path, line: str) -> None:
    (tmp_path / "train.toml").write_text(line)
    with pytest.raises(UserError, match=r"(steps|lr|size) is (int|float), not "):
        read_config(tmp_path / "train.toml")
