"""Public layouts are found as what they are, by names; what pixels and files beside them say comes after."""

from __future__ import annotations

from pathlib import Path

import pytest

from freelabels.pipeline.sources.find import Item, find
from tests.pipeline.sources.layouts import DOCUMENT, document, expanded, rows

NAMES = {"image": "photo"}


def found_in(root: Path) -> str:
    """The items found, photos together: "stereo 3, photo 2"."""
    counts: list[str] = []
    photos = 0
    videos = 0
    for item in find([str(root)]):
        if not isinstance(item, Item):
            continue
        if item.kind == "image":
            photos += 1
        elif item.kind == "video":
            videos += 1
        else:
            counts.append(f"{item.kind} {len(item.uris) // (2 if item.kind == 'stereo' else 1)}")
    order = ("stereo", "rgbd", "sequence")
    counts.sort(key=lambda one: (order.index(one.split()[0]), -int(one.split()[1])))
    if videos:
        counts.append(f"video {videos}")
    return ", ".join(counts + ([f"photo {photos}"] if photos else []))


@pytest.mark.parametrize(
    ("title", "pattern", "expected"), [row[1:] for row in rows()], ids=lambda v: str(v)[:24]
)
def test_a_layout_is_found_as_what_it_is(tmp_path: Path, title: str, pattern: str, expected: str) -> None:
    for name in expanded(pattern):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert found_in(tmp_path) == expected


def test_the_document_says_what_the_table_says() -> None:
    assert len(list(rows())) >= 60
    assert DOCUMENT.read_text() == document()
