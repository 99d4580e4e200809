"""Public layouts are found as what they are, by names; what pixels and files beside them say comes after."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from freelabels.pipeline.sources.find import Item, find
from tests.pipeline.sources.layouts import DOCUMENT, document, expanded, rows
from tests.pipeline.sources.test_archives import write_tar, write_zip

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


def make(root: Path, names: list[str]) -> None:
    """Empty files of these names, those inside archives in archives."""
    inside: dict[str, list[str]] = {}
    for name in names:
        place, mark, member = name.partition("!/")
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        if mark:
            inside.setdefault(place, []).append(member)
        else:
            (root / name).touch()
    for place, members in inside.items():
        if place.endswith(".zip"):
            write_zip(root / place, dict.fromkeys(members, b""))
        elif place.endswith(".parquet"):
            columns: dict[str, list[object]] = {}
            for member in members:
                column, _, cell = member.partition("/")
                data = b"\xff\xd8\xff" if cell.endswith(".jpg") else b"\x89PNG\r\n\x1a\n"
                columns.setdefault(column, []).append({"bytes": data, "path": cell})
            if "chunk-" in place:
                columns["episode_index"] = [0] * len(members)
            pq.write_table(pa.table(columns), root / place)
        else:
            write_tar(root / place, dict.fromkeys(members, b""), "w" if place.endswith(".tar") else "w:gz")


@pytest.mark.parametrize(
    ("title", "pattern", "expected"), [row[1:] for row in rows()], ids=lambda v: str(v)[:24]
)
def test_a_layout_is_found_as_what_it_is(tmp_path: Path, title: str, pattern: str, expected: str) -> None:
    make(tmp_path, expanded(pattern))
    assert found_in(tmp_path) == expected


def test_the_document_says_what_the_table_says() -> None:
    assert len(list(rows())) >= 80
    assert DOCUMENT.read_text() == document()
