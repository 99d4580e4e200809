"""Batches are a pure function of seed and position: any number of threads, any interruption, any split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.shapes import write_dataset
from freelabels.ground.errors import CorruptShard, UserError
from freelabels.train.config import AugmentConfig, LoaderConfig
from freelabels.train.data.loader import Batch, Loader
from freelabels.train.data.windows import (
    REAL,
    SYNTHETIC,
    Catalogue,
    Window,
    group_of,
    held_out_groups,
    read_catalogue,
)

FIELDS = ("edges", "depth", "normals", "flow", "camera_K")
CONFIG = LoaderConfig(size=32, batch=6, held_out=0.25, buffer=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    root = tmp_path_factory.mktemp("data")
    real = write_dataset(root / "real", REAL, 9, 48, labels=("edges", "motion"), confidence=128)
    return str(real), str(write_dataset(root / "synthetic", SYNTHETIC, 7, 48))


@pytest.fixture(scope="module")
def catalogue(data: tuple[str, str]) -> Catalogue:
    return read_catalogue([data[0]], [data[1]], 1)


def take(loader: Loader, count: int, start: int = 0) -> list[Batch]:
    return list(loader.batches(start, start + count))


def assert_same(a: Batch, b: Batch) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(torch.nan_to_num(a[name]), torch.nan_to_num(b[name])), name


def test_what_a_batch_holds(catalogue: Catalogue) -> None:
    (batch,) = take(Loader(catalogue, FIELDS, CONFIG, 0), 1)
    assert batch["image"].shape == (6, 1, 3, 32, 32) and batch["image"].dtype is torch.uint8
    assert batch["normals"].shape == (6, 1, 3, 32, 32) and batch["normals_weight"].shape == (6, 1, 32, 32)
    real = batch["domain"] == REAL
    assert torch.isfinite(batch["depth"]).all() and torch.isfinite(batch["flow"]).all()
    assert (batch["depth_weight"][real] == 0).all()  # real shards hold no depth
    assert (batch["edges_weight"][real] == 128 / 255).all() and (batch["edges_weight"][~real] == 1).all()
    assert ((batch["depth"][:, :, 0] > 0) == (batch["depth_weight"] > 0)).all()


def test_any_number_of_threads_gives_the_same_batches(catalogue: Catalogue) -> None:
    one, four = (take(Loader(catalogue, FIELDS, replace(CONFIG, workers=n), 3), 8) for n in (1, 4))
    for a, b in zip(one, four, strict=True):
        assert_same(a, b)


def test_going_on_at_a_batch_gives_the_same_batches(catalogue: Catalogue) -> None:
    whole = take(Loader(catalogue, FIELDS, CONFIG, 3), 12)
    rest = take(Loader(catalogue, FIELDS, CONFIG, 3), 5, start=7)
    for a, b in zip(whole[7:], rest, strict=True):
        assert_same(a, b)


def test_another_seed_or_epoch_gives_other_views(catalogue: Catalogue) -> None:
    loader, other = (Loader(catalogue, FIELDS, CONFIG, seed) for seed in (0, 1))
    first = loader.sample(0, 5)["image"]
    assert not np.array_equal(first, loader.sample(1, 5)["image"])
    assert not np.array_equal(first, other.sample(0, 5)["image"])
    np.testing.assert_array_equal(first, Loader(catalogue, FIELDS, CONFIG, 0).sample(0, 5)["image"])


@pytest.mark.parametrize("share", [0.5, 0.25, 0.4])
def test_the_stated_share_is_synthetic(catalogue: Catalogue, share: float) -> None:
    loader = Loader(catalogue, (), replace(CONFIG, batch=5, synthetic=share), 0)
    drawn = [catalogue.windows[n].domain for k in range(40) for _, n in loader.plan(k)]
    assert len(drawn) == 200 and sum(drawn) == round(200 * share)


def test_an_epoch_shows_every_window_of_a_domain_once_and_in_another_order(catalogue: Catalogue) -> None:
    loader = Loader(catalogue, (), CONFIG, 0)
    seen: dict[tuple[int, int], list[int]] = {}
    for number in range(60):
        for epoch, window in loader.plan(number):
            seen.setdefault((catalogue.windows[window].domain, epoch), []).append(window)
    held = {w.group for w in loader.held_out}
    for domain in (REAL, SYNTHETIC):
        kept = [n for n, w in enumerate(catalogue.windows) if w.domain == domain and w.group not in held]
        assert sorted(seen[domain, 0]) == sorted(seen[domain, 1]) == kept
        assert seen[domain, 0] != seen[domain, 1] and seen[domain, 0] != kept


def test_ranks_share_a_batch_without_overlap(catalogue: Catalogue) -> None:
    one = Loader(catalogue, (), replace(CONFIG, batch=12), 0)
    ranks = [Loader(catalogue, (), replace(CONFIG, batch=4), 0, rank, 3) for rank in range(3)]
    for number in range(20):
        parts = [rank.plan(number) for rank in ranks]
        assert sorted(item for part in parts for item in part) == sorted(one.plan(number))
        assert {catalogue.windows[n].domain for _, n in parts[0]} == {REAL, SYNTHETIC}


def test_held_out_clips_are_never_drawn_and_do_not_depend_on_the_rest(catalogue: Catalogue) -> None:
    loader = Loader(catalogue, (), CONFIG, 0)
    drawn = {catalogue.windows[n].group for k in range(100) for _, n in loader.plan(k)}
    held = {w.group for w in loader.held_out}
    assert held and not held & drawn
    assert {w.domain for w in loader.held_out} == {REAL, SYNTHETIC}
    assert held_out_groups(catalogue.windows, 0) == frozenset()
    few = [w for w in catalogue.windows if w.domain == REAL]
    assert held_out_groups(few, 0.25) == {g for g in held if any(w.group == g for w in few)}
    assert len(held_out_groups([w for w in few if w.group == few[0].group], 0.5)) == 0


def test_every_kind_of_source_has_a_clip_held_out() -> None:
    kinds = {"photo": 9, "video": 2, "stereo": 1}
    windows = [
        Window("data", "shard", k, REAL, f"{kind} {k}", kind) for kind in kinds for k in range(kinds[kind])
    ]
    held = held_out_groups(windows, 0.01)
    assert sorted(group.split()[0] for group in held) == ["photo", "video"]


def test_a_clip_belongs_with_its_source() -> None:
    cut = [{"kind": "video", "sha256": "a", "key": str(k), "source": ["x"]} for k in (1, 2)]
    assert group_of(cut[0]) == group_of(cut[1])
    renders = [{"kind": "render", "key": str(k), "source": [f"seed:0/clip:{k}"]} for k in (1, 2)]
    assert group_of(renders[0]) != group_of(renders[1])


def test_windows_of_frames_stay_within_a_clip(data: tuple[str, str]) -> None:
    catalogue = read_catalogue([], [data[1]], 3)
    assert len(catalogue.windows) == 7 * 2  # clips of four frames
    loader = Loader(catalogue, ("flow", "instance"), replace(CONFIG, frames=3), 0)
    (batch,) = take(loader, 1)
    assert batch["image"].shape == (6, 3, 3, 32, 32) and (batch["domain"] == SYNTHETIC).all()
    ends = [n for n, w in enumerate(batch["window"]) if catalogue.windows[int(w)].start % 4 == 1]
    assert (batch["flow_weight"][ends][:, -1] == 0).all()  # the last frame of a clip has no next


def test_a_window_is_augmented_as_one(data: tuple[str, str]) -> None:
    catalogue = read_catalogue([], [data[1]], 2)
    loader = Loader(catalogue, ("depth",), replace(CONFIG, frames=2, augment=AugmentConfig(rotate=20)), 0)
    sample = loader.sample(0, 0)
    still = (sample["depth"][0] == sample["depth"][1]) & (sample["depth"][0] > 0)
    assert still.mean() > 0.2  # the floor doesn't move
    assert np.abs(sample["image"][0].astype(int) - sample["image"][1])[:, still[0]].mean() < 3


def test_bad_data_is_said_in_a_sentence(data: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no shards with clips of 9 frames"):
        read_catalogue([data[0]], [], 9)
    with pytest.raises(UserError, match="not a Freelabels dataset"):
        read_catalogue([str(tmp_path)], [], 1)
    with pytest.raises(UserError, match="nothing to train on"):
        Loader(read_catalogue([], [], 1), (), CONFIG, 0)


def test_a_corrupt_column_is_named(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "broken", SYNTHETIC, 4, 32, labels=("edges",))
    chunk = next(path.glob("*/edges/c/0/0/0"))
    content = bytearray(chunk.read_bytes())
    content[10] ^= 1
    chunk.write_bytes(content)
    loader = Loader(read_catalogue([], [str(path)], 1), ("edges",), replace(CONFIG, size=32), 0)
    with pytest.raises(CorruptShard, match=r"shapes-0000\.0/edges"):
        take(loader, 4)
