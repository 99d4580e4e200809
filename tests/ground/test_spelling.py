"""What a mistyped name is taken for, and how many there are of a thing."""

import re
from pathlib import Path

import pytest

from freelabels.ground.spelling import closest, counted

OPTIONS = ["--model.backbone", "--steps", "--loader.batch", "--optimizer.lr", "--out", "--workers", "--size"]
NAMES = ["label", "render", "train", "prune", "edges", "edge_type", "shadow"]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("lable", "label"),
        ("Trian", "train"),
        ("edge", "edges"),
        ("--backbone", "--model.backbone"),
        ("--batch", "--loader.batch"),
        ("--lr", "--optimizer.lr"),
        ("--step", "--steps"),
        *[(word, "") for word in ("show", "run", "foo", "--batch-size", "--gpu")],
    ],
)
def test_only_what_is_near_is_suggested(word: str, meant: str) -> None:
    assert closest(word, OPTIONS if word.startswith("-") else NAMES) == (
        f"did you mean {meant!r}?" if meant else ""
    )


def test_one_is_not_many() -> None:
    assert [counted(n, "shard") for n in (0, 1, 2, 1000)] == [
        "0 shards",
        "1 shard",
        "2 shards",
        "1,000 shards",
    ]
    assert [counted(n, "class") for n in (1, 2)] == ["1 class", "2 classes"]


def test_no_summary_says_1_shards() -> None:
    """Stages and commands count by `counted`, not with an s that is always there; constants are many."""
    always = re.compile(r"[^A-Z]\} (shards|clips|sources|problems|groups|columns)\b")
    rooms = [
        ROOT / room for room in ("freelabels/cli", "pipeline/stages", "pipeline/curate", "pipeline/viewer")
    ]
    found = [
        f"{path.name}: {line.strip()}"
        for room in rooms
        for path in room.rglob("*.py")
        for line in path.read_text().splitlines()
        if always.search(line) and "raise " not in line
    ]
    assert not found
