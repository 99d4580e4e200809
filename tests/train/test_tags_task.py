"""Words beside pictures: how they come to clips, which are a vocabulary, what a missing or wrong one costs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from freelabels.generators.contract.geometry import intrinsics
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.train.data.catalogue import read_catalogue
from freelabels.train.data.words import words_of
from freelabels.train.tasks.contract.online import Clips
from freelabels.train.tasks.contract.task import Asked
from freelabels.train.tasks.tags import Tags

TEXTS = (("A red dog", "dog, IMG_0032"), (), ("Ein Hündchen",))


def test_words_of_texts_come_to_the_clips_they_came_with(tmp_path: Path) -> None:
    dataset = Dataset.create(tmp_path, {"size": [8, 8]})
    rows = np.arange(4)  # the last clip has two frames, and two windows of one run
    columns = {
        "image": np.zeros((4, 8, 8, 3), np.uint8),
        "domain": np.zeros(4, np.uint8),
        "camera_K": np.tile(intrinsics(8.0, 8, 8), (4, 1, 1)),
    }
    clips = [
        {
            "rows": [k, 4 if k == 2 else k + 1],
            "kind": "photo",
            "source": [f"{k}.png"],
            "key": f"{k}.png",
            "tags": [{"kind": "caption", "text": text, "origin": "told"} for text in TEXTS[k]],
        }
        for k in rows[:3].tolist()
    ]
    made_by = {name: {"generator": "made", "version": 1} for name in columns}
    commit_shard(dataset, "made-00000", columns, clips, made_by)
    windows = read_catalogue([str(tmp_path)], [], 1).windows
    assert words_of(windows) == [("dog", "img", "red"), (), ("ein", "hündchen")]


def clips(words: list[tuple[str, ...]], learned: list[bool]) -> Clips:
    nothing = np.zeros((len(words), 0), np.float32)
    return Clips(nothing, np.arange(len(words), dtype=np.uint64), np.array(learned), words)


def test_the_vocabulary_is_what_tells_the_clips_apart_that_are_trained_on() -> None:
    words = [
        ("photo", "dog"),
        ("photo", "dog"),
        ("photo", "cat"),
        ("photo", "cat"),
        ("photo", "once"),
        ("bird",),
    ]
    labels = Tags(words=4).assign(clips([*words, ("bird", "dog")], [True] * 6 + [False]), None, 0)
    assert labels.whole["words"].tolist() == ["cat", "dog"]  # not what most have, nor what only one has
    assert labels.clips["has"].tolist() == [
        [w in had for w in ("cat", "dog", "-", "-")] for had in [*words, ("dog",)]
    ]
    with pytest.raises(UserError, match="found no two words"):
        Tags().assign(clips([()] * 6, [True] * 6), None, 0)


def test_a_missing_word_costs_nothing_and_a_wrong_one_little() -> None:
    task, logits = Tags(words=3), torch.tensor([[9.0, 9.0, -9.0]])

    def loss(*has: float, doubt: float = task.doubt) -> float:
        asked = Asked(torch.tensor([has]), torch.ones(1))
        return float(Tags(words=3, doubt=doubt).judge(logits, asked))

    assert loss(1, 1, 0) == pytest.approx(0, abs=1e-4)
    assert loss(1, 0, 0) == pytest.approx((1 - 0.5**0.7) / 0.7, abs=1e-4)
    assert loss(0, 0, 1) == pytest.approx(1 / 0.7, abs=1e-3)  # the most that a word can cost
    assert loss(0, 0, 1, doubt=0) > 15  # cross-entropy would believe it
    assert float(task.judge(logits, Asked(torch.zeros(1, 3), torch.zeros(1)))) == 0
