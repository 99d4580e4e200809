"""Every fence of code in the README and the docs runs as written, or says why it doesn't."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from tests.preloaded import Programs
from tests.sources import moving_frames, write_video

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.S | re.M)
SHOWN = ("text", "json", "toml", "yaml", "console", "mermaid")  # languages of fences that only show something
# The same commands on less, so that they end within a test's time.
LESS = {
    "--clips 1000 --frames 16": "--clips 6 --frames 2 --size 64",
    "freelabels label ": "freelabels label --size 96 ",
    "photos/ holiday.mp4 --out": "photos/ holiday.mp4 --workers 0 --out",  # the label before it starts Ray
    "freelabels render --": "freelabels render --workers 0 --",
    "--preview ": "--size 64 --preview ",
    "--model.backbone resnet50": "--model.backbone test_resnet --steps 2 --loader.batch 4 --loader.size 64",
    "freelabels predict runs/first photos/": "freelabels predict runs/first photos/ --workers 0 --size 64",
    "freelabels probe runs/first": "freelabels probe runs/first --rotation skip --seeds 1 --draws 1 --shots 1 "
    "--frames 8 --fields depth normals",
}


@dataclass(frozen=True)
class Fence:
    """A piece of code on a page: its language, the reason it isn't run, and its text."""

    page: Path
    line: int
    language: str
    not_run: str
    text: str


def fences(page: Path) -> Iterator[Fence]:
    text = page.read_text()
    for found in FENCE.finditer(text):
        language, _, rest = found[1].partition(" ")
        reason = rest.partition("not-run:")[2].strip()
        yield Fence(page, text[: found.start()].count("\n") + 1, language, reason, found[2])


EVERY = [fence for page in PAGES if page.exists() for fence in fences(page)]


@pytest.mark.parametrize("fence", EVERY, ids=lambda f: f"{f.page.name}:{f.line}")
def test_a_fence_says_what_it_is(fence: Fence) -> None:
    assert fence.language in ("sh", "python", *SHOWN), "say the language, or text"
    assert fence.language in SHOWN or "not-run" not in fence.text
    if "…" in fence.text.partition("#")[0] and fence.language == "sh":
        assert fence.not_run, "it holds a placeholder, so it can't run: say why"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages take for granted: photos, a video, classes of pictures."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "photos").mkdir()
    for name in ("coffee", "chelsea"):
        Image.fromarray(getattr(data, name)()[:256, :256]).save(folder / "photos" / f"{name}.png")
    write_video(folder / "holiday.mp4", moving_frames(10, 96, 128))
    for name in ("brick", "grass"):
        (folder / "my_classes" / name).mkdir(parents=True)
        for k in range(8):
            part = getattr(data, name)()[k * 60 : k * 60 + 64, :64]
            Image.fromarray(part).save(folder / "my_classes" / name / f"{k}.png")
    return folder


@pytest.mark.docs
@pytest.mark.ray
@pytest.mark.renders
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", [page for page in PAGES if page.exists()], ids=lambda p: p.name)
def test_the_fences_of_a_page_run_one_after_the_other(page: Path, desk: Path, programs: Programs) -> None:
    (desk / "bin").mkdir(exist_ok=True)
    programs.shim(desk / "bin" / "freelabels", str(Path(sys.executable).with_name("freelabels")))
    path = os.pathsep.join([str(desk / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    for fence in fences(page):
        if fence.language in SHOWN or fence.not_run:
            continue
        text = fence.text
        for much, less in LESS.items():
            text = text.replace(much, less)
        if fence.language == "sh":
            command, env = ["bash", "-euc", text], {**os.environ, "PATH": path}
            done = subprocess.run(command, cwd=desk, env=env, capture_output=True, text=True)
        else:
            done = programs.run("-c", text, cwd=desk)
        assert done.returncode == 0, (
            f"{page.name}:{fence.line}\n{text}\n{done.stdout[-800:]}\n{done.stderr[-1500:]}"
        )
