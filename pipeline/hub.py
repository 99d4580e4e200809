"""A dataset made ready for a hub, and folders put there: nothing of the machine or its user goes with them."""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from freelabels.ground.errors import UserError
from freelabels.pipeline.cards import About
from freelabels.pipeline.convert.frames import Source
from freelabels.pipeline.convert.tables import huggingface
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.viewer.contact_sheet import draw_contact_sheet

PREVIEW, CARD = "preview.png", "README.md"
# Two numbers such as 48.85837, 2.29448.
COORDINATES = re.compile(r"[-+]?\d{1,3}\.\d{3,}\D{1,4}[-+]?\d{1,3}\.\d{3,}")


def prepare_dataset(path: str, folder: Path, about: About) -> int:
    """Write a dataset as the hub shows it: Parquet, card with licences, preview; returns how many frames.

    Of sources the file's name alone is told; words that hold coordinates, a path or the user's name are left out.
    Pictures are encoded anew, so no EXIF goes with them. Raises UserError.
    """
    source = Source(Dataset(path), private=private_text)
    if not len(source.index):
        raise UserError(f"{path} holds no shards yet; label or render into it first")
    frames = huggingface(source, folder)
    draw_contact_sheet(path, str(folder / PREVIEW), frames=8)
    kinds = {
        part.kinds[k] for _, part in source.index.summaries("clips") for k in set(part.clips["kind"].tolist())
    }
    with_licences(folder, about, "render" in kinds)
    return frames


def private_text(text: str) -> bool:
    """Whether words hold what is nobody else's business: coordinates, a path of a machine, the user's name."""
    user = getpass.getuser()
    named = user not in ("root", "user") and re.search(rf"\b{re.escape(user)}\b", text) is not None
    return bool(COORDINATES.search(text)) or named or bool(re.search(r"(^|\s)(/|~/|[A-Za-z]:\\)\S+", text))


def with_licences(folder: Path, about: About, renders: bool) -> None:
    """Put name, preview and licences into the card of a folder; its front matter says the first."""
    if not about.license:
        raise UserError("say under which licence it is given, with --license, such as CC-BY-4.0")
    text = (folder / CARD).read_text()
    front, body = ("", text)
    if text.startswith("---\n"):
        front, _, body = text.removeprefix("---\n").partition("\n---\n")
    if not re.search(r"^license:", front, re.M):
        front = f"license: {about.license.lower()}\n{front}"
    lines = [f"- Labels, and what was made here: {about.license}"]
    if about.source_license:
        lines.append(f"- Frames and videos that they were made from: {about.source_license}")
    if renders:
        lines.append("- Meshes and pictures in renders: their makers' terms, listed in Freelabels' NOTICE")
    picture = f"![Frames with their labels]({PREVIEW})\n\n" if (folder / PREVIEW).exists() else ""
    said = f"{about.description}\n\n" if about.description else ""
    (folder / CARD).write_text(
        f"---\n{front.strip()}\n---\n{body.rstrip()}\n\n{said}{picture}## Licences\n\n"
        + "\n".join(lines)
        + "\n"
    )


def upload(
    folder: Path, repository: str, kind: str, private: bool, api: Callable[[], Any] | None = None
) -> str:
    """Put a folder into a repository of the hub, made if it isn't there; returns its address.

    kind: dataset or model. Who one is there, ``HF_TOKEN`` or ``hf auth login`` says. Raises UserError.
    """
    if api is None:
        from huggingface_hub import HfApi

        api = HfApi
    try:
        hub = api()
        place = hub.create_repo(repository, repo_type=kind, private=private, exist_ok=True)
        hub.upload_folder(
            folder_path=str(folder), repo_id=repository, repo_type=kind, commit_message="From Freelabels"
        )
    except Exception as error:  # it has dozens of kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{repository} can't be pushed to ({reason}); is HF_TOKEN set, and is it yours?"
        ) from error
    return str(place)
