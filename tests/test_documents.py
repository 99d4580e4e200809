"""What documents point at is there: tests that show a promise, files, excerpts of code, the rooms of the house."""

import re
from pathlib import Path

import pytest

from freelabels.generators.contract.detector import label_names

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("docs/guarantees.md", "docs/format.md", "SECURITY.md", "CONTRIBUTING.md")
LABELS = sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs" / "detectors").glob("*.md"))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_test_that_a_document_names_is_there(name: str) -> None:
    named = re.findall(r"\b(test_\w+\.py)(?:::(test_\w+))?", (ROOT / name).read_text())
    assert named
    for file, test in named:
        [path] = (ROOT / "tests").rglob(file)
        assert not test or f"\ndef {test}(" in path.read_text(), f"{file}::{test}"


@pytest.mark.parametrize("name", [*DOCUMENTS, "CHANGELOG.md", "docs/detectors.md", *LABELS])
def test_links_lead_somewhere(name: str) -> None:
    document = ROOT / name
    for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
        assert "://" in target or (document.parent / target).exists(), target


def test_every_label_has_a_page_that_says_what_it_is_and_when_it_fails() -> None:
    overview, shared = (
        (ROOT / "docs/detectors.md").read_text(),
        {"flow_backward": "flow", "sound_texture": "sound"},
    )
    for label in label_names():
        page = f"detectors/{shared.get(label, label)}.md"
        text = (ROOT / "docs" / page).read_text()
        assert f"({page})" in overview
        assert re.search(r"\*\*What (it says|they say)\.\*\*", text), page
        for part in ("made", r"confidence means", "When (it|they) fails?", "Parameters"):
            assert re.search(rf"\*\*[^*]*{part}[^*]*\*\*", text), (page, part)


def test_names_of_files_and_what_is_in_them_are_right() -> None:
    """Of sentences like "`NAME` of `folder/file.py`" the name is there, and every path is one."""
    for path in re.findall(
        r"`((?:generators|renderers|pipeline|train|benchmarks|tests)/[\w/.]*)`", CONTRIBUTING
    ):
        assert (ROOT / path).exists(), path
    named = re.findall(r"`([\w.]+)`(?:, `[\w]+`)?(?: or `[\w]+`)? (?:of|in)\s+`([\w/]+\.py)`", CONTRIBUTING)
    assert len(named) > 10
    for name, path in named:
        assert re.search(rf"\b{name.rpartition('.')[2]}\b", (ROOT / path).read_text()), (name, path)


def test_excerpts_are_as_they_stand() -> None:
    excerpts = re.findall(r"^```python not-run: as it stands in (\S+)\n(.*?)^```$", CONTRIBUTING, re.S | re.M)
    assert len(excerpts) >= 3
    for path, text in excerpts:
        assert text in (ROOT / path).read_text(), path


def test_the_picture_of_the_house_has_every_room() -> None:
    [picture] = re.findall(r"^```text\n(freelabels/ .*?)^```$", CONTRIBUTING, re.S | re.M)
    drawn: dict[str, set[str]] = {}
    for line in picture.splitlines():
        if (floor := re.match(r"(\w+)/  ", line)) and line[0] != " ":
            rooms = drawn.setdefault(floor[1], set())
        elif room := re.match(r"  (\w+)/ ", line):
            rooms.add(room[1])
        elif line.startswith("  "):
            rooms |= {name for name in line.split("   ")[0].split() if name.isidentifier()}
    for floor in ("generators", "renderers", "pipeline", "train"):
        there = {p.parent.name for p in (ROOT / floor).glob("*/__init__.py")}
        there |= {p.stem for p in (ROOT / floor).glob("*.py") if p.stem != "__init__"}
        assert drawn[floor] == there
