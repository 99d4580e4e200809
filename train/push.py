"""A dataset or a run's backbone, put on a hub."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freelabels.ground.errors import UserError
from freelabels.pipeline.cards import About
from freelabels.pipeline.hub import PREVIEW, prepare_dataset, upload, with_licences
from freelabels.train.export import export
from freelabels.train.run.config_file import CONFIG
from freelabels.train.run.logs import PICTURES


@dataclass(frozen=True)
class Pushed:
    """What was put where. address: of the repository, or the folder it was only written to."""

    address: str
    kind: str
    files: int
    bytes: int


def push(
    path: str,
    repository: str,
    about: About,
    *,
    private: bool = True,
    into: str = "",
    api: Callable[[], Any] | None = None,
) -> Pushed:
    """Put a dataset, or the backbone of the run in a folder, into a repository NAME/NAME of the Hugging Face Hub.

    With a card, a preview and the licences of `about`; without paths of this machine, names of its users and
    coordinates. private: whether a new repository is. into: a folder to write it to instead, to look at. api: what
    makes the hub's client, default `huggingface_hub.HfApi`. Raises UserError.
    """
    if not about.license:
        raise UserError("say under which licence it is given, with --license, such as CC-BY-4.0")
    if not into and repository.count("/") != 1:
        raise UserError(f"a repository is called OWNER/NAME, not {repository!r}")
    kind = "model" if (Path(path) / CONFIG).is_file() else "dataset"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "out"
        folder.mkdir()
        if kind == "model":
            export(path, folder)
            if shown := sorted((Path(path) / PICTURES).glob("*.png")):
                shutil.copyfile(shown[-1], folder / PREVIEW)
            with_licences(folder, about, renders=False)
        else:
            prepare_dataset(path, folder, about)
        files = [file for file in folder.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        if into:
            if Path(into).exists():
                raise UserError(f"{into} is there already; name a new folder")
            shutil.copytree(folder, into)
            return Pushed(into, kind, len(files), size)
        return Pushed(upload(folder, repository, kind, private, api), kind, len(files), size)
