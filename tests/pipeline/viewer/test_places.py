"""Absolute paths are taken out of what is shown to others."""

import json
from pathlib import Path

import pytest

from freelabels.pipeline.viewer.page import write_html
from freelabels.pipeline.viewer.places import without_places
from tests.pipeline.viewer.test_page import tiny


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/ann/my photos/a b.png", "my photos/a b.png"),
        ("/home/ann/my photos", "my photos"),
        ("C:\\Users\\ann\\photos\\a.png", "photos/a.png"),
        ("can't read /home/ann/x/a.png: gone", "can't read x/a.png: gone"),
        ('File "/usr/lib/python3/site.py", line 3', 'File "python3/site.py", line 3'),
        ("s3://bucket/ann/a.png", "s3://bucket/ann/a.png"),
        ("https://ann.org/photos/a.png", "https://ann.org/photos/a.png"),
        ("photos/a.png", "photos/a.png"),
        ("m/s, 1/2 and up/down", "m/s, 1/2 and up/down"),
    ],
)
def test_of_a_path_its_last_folder_and_name_stay(text: str, shown: str) -> None:
    document = {"one": [text], "seen": "/home/ann/my photos/c.png"}
    assert without_places(document)["one"] in ([shown], [shown.replace("my photos", "ann/my photos")])


def test_pixels_are_left_alone() -> None:
    document = {"pictures": {"image": "ab/cd+/ef/gh=="}, "values": {"edges": {"data": "/a/b/c"}}}
    assert without_places(document) == document


def test_a_page_in_a_file_holds_no_path_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "ann" / "photos"
    tiny(path, source=str(tmp_path / "ann" / "secret place" / "a.png"))
    refused = {"uri": str(tmp_path / "b.png"), "reason": f"can't read {tmp_path}/b.png"}
    (path / "rejected.jsonl").write_text(json.dumps(refused) + "\n")
    text = write_html([str(path)], tmp_path / "page.html", frames=2, clips=0).read_text()
    assert str(tmp_path) not in text and "secret place/a.png" in text
    whole = write_html([str(path)], tmp_path / "page.html", frames=2, clips=0, places=True).read_text()
    assert str(tmp_path / "ann" / "secret place" / "a.png") in whole
