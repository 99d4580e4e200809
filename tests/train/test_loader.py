"""Batches are a pure function of seed and position: any number of threads, any interruption, any split."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.tools.shapes import write_dataset
from freelabels.ground.errors import CorruptShard, UserError
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.train.config import AugmentConfig, LoaderConfig
from freelabels.train.data.catalogue import Catalogue, group_of, read_catalogue
from freelabels.train.data.held_out import held_out, held_out_groups
from freelabels.train.data.loader import Batch, Loader
from freelabels.train.data.order import SAMPLING, ShuffledBlocks
from freelabels.train.data.resident import Resident
from freelabels.train.data.windows import REAL, SYNTHETIC, Builder, Window, Windows

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


def built(windows: Sequence[Window]) -> Windows:
    builder = Builder()
    for (dataset, shard, domain), some in groupby(windows, lambda w: (w.dataset, w.shard, w.domain)):
        builder.add(dataset, shard, domain, [(w.kind, w.start, 1, w.group) for w in some])
    return builder.build()


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


@pytest.mark.parametrize("sampling", [1, SAMPLING])
def test_an_epoch_shows_every_window_of_a_domain_once_and_in_another_order(
    catalogue: Catalogue, sampling: int
) -> None:
    loader = Loader(replace(catalogue, sampling=sampling), (), CONFIG, 0)
    seen: dict[tuple[int, int], list[int]] = {}
    for number in range(60):
        for epoch, window in loader.plan(number):
            seen.setdefault((catalogue.windows[window].domain, epoch), []).append(window)
    held = held_out_groups(catalogue.windows, CONFIG.held_out)
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


def test_windows_of_a_few_shards_are_mixed_and_no_others() -> None:
    shards = [Window("data", f"{n // 4:02d}", n % 4, REAL, n // 2, "video") for n in range(60)]
    windows = built(shards)
    held = windows.group % 5 == 0
    order = ShuffledBlocks(windows, held, REAL, 3, 0)
    kept = [n for n, w in enumerate(shards) if w.group % 5]
    assert len(order) == len(kept)
    epochs, numbers = order.at(np.arange(2 * len(kept)))
    assert epochs.tolist() == [0] * len(kept) + [1] * len(kept)
    drawn = [shards[n].shard for n in numbers[: len(kept)]]
    seen = list(dict.fromkeys(drawn))
    for first in range(0, len(seen), 3):  # all that a buffer of three shards holds comes before the next
        assert max(len(drawn) - 1 - drawn[::-1].index(s) for s in seen[first : first + 3]) < min(
            (drawn.index(s) for s in seen[first + 3 :]), default=len(drawn)
        )
    assert seen != sorted(seen) and len(set(drawn[:6])) > 1
    one_by_one = np.concatenate([order.at(np.array([k]))[1] for k in range(len(kept))])
    assert one_by_one.tolist() == numbers[: len(kept)].tolist()


def test_columns_hold_what_windows_are() -> None:
    given = [
        Window(
            f"data {n % 2}", f"shard {n // 3}", 100 * (n % 3), n % 2, n << 40, "photo" if n % 2 else "video"
        )
        for n in range(12)
    ]
    windows = built(given)
    assert list(windows) == given and windows[2:4] == given[2:4]
    with pytest.raises(IndexError, match="there is no window 12"):
        windows[12]
    marked = np.arange(len(windows.row)) % 3 == 1
    assert windows.numbers(marked).tolist() == np.flatnonzero(marked).tolist()
    assert windows.counts(marked).sum() == marked.sum()
    runs = Builder()
    runs.add("data", "shard", REAL, [("video", 3, 5, 1), ("video", 20, 2, 2)])
    assert [w.start for w in runs.build()] == [3, 4, 5, 6, 7, 20, 21]
    assert runs.build().numbers(np.array([False, True])).tolist() == [5, 6]


def open_files(folder: str) -> int:
    """How many files below a folder this process holds open."""
    found = 0
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{entry}").startswith(folder)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="it counts open files as Linux lists them")
def test_many_threads_over_many_shards_hold_few_files_and_none_when_done(tmp_path: Path) -> None:
    path = str(write_dataset(tmp_path / "many", SYNTHETIC, 60, 32, frames=1, confidence=9))
    fields = ("edges", "motion", "disparity", "depth", "normals", "flow", "instance")
    loader = Loader(
        read_catalogue([], [path], 1),
        fields,
        replace(CONFIG, batch=30, workers=8, buffer=15, held_out=0.2),
        0,
    )
    most = 0
    for _ in loader.batches(0, 6):
        most = max(most, open_files(path))
    assert 0 < most < 200  # of the 256 that macOS gives a process, some are others'
    assert open_files(path) == 0
    for _ in loader.evaluation(8):
        assert open_files(path) == 0


def write_classes(path: Path, shards: Sequence[tuple[Sequence[str], Sequence[int]]]) -> str:
    """Shards of one class a frame: (table of names, ids of its frames)."""
    dataset = Dataset.create(path, {"size": [32, 32]})
    for number, (names, ids) in enumerate(shards):
        shape = (len(ids), 32, 32)
        columns = {
            "image": np.zeros((*shape, 3), np.uint8),
            "semantic": np.broadcast_to(np.array(ids, np.uint8)[:, None, None], shape).copy(),
            "domain": np.ones(len(ids), np.uint8),
        }
        clips = [
            {"rows": [k, k + 1], "kind": "render", "key": f"{path.name} {number} {k}"}
            for k in range(len(ids))
        ]
        made_by = {name: {"generator": "test", "version": 1} for name in columns}
        attributes = {"semantic": {"names": list(names)}}
        commit_shard(dataset, f"render-{number}", columns, clips, made_by, attributes=attributes)
    return str(path)


def test_classes_are_the_same_by_name_whatever_their_ids(tmp_path: Path) -> None:
    one = write_classes(tmp_path / "one", [(("floor", "cup", "duck"), (0, 1, 2, 255))])
    two = write_classes(
        tmp_path / "two",
        [(("floor", "duck"), (0, 1)), (("floor", "duck", "lamp", "cup"), (1, 2, 3, 255)), (("cup",), (0,))],
    )
    catalogue = read_catalogue([], [one, two], 1)
    assert catalogue.names["semantic"] == ("floor", "cup", "duck", "lamp")
    loader = Loader(catalogue, ("semantic",), replace(CONFIG, held_out=0), 0)
    batch = loader.centred(list(catalogue.windows))
    seen = batch["semantic"][:, 0, 0, 0, 0].int().tolist()
    assert seen == [0, 1, 2, 0, 0, 2, 2, 3, 1, 0, 1]  # 0 where there is no label
    known = batch["semantic_weight"][:, 0, 0, 0] > 0
    assert known.tolist() == [True] * 3 + [False] + [True] * 5 + [False] + [True]


def test_held_out_clips_are_never_drawn_and_do_not_depend_on_the_rest(catalogue: Catalogue) -> None:
    loader = Loader(catalogue, (), CONFIG, 0)
    drawn = {catalogue.windows[n].group for k in range(100) for _, n in loader.plan(k)}
    kept_out = [catalogue.windows[n] for n in loader.held_out]
    held = {w.group for w in kept_out}
    assert held and not held & drawn and held == held_out_groups(catalogue.windows, 0.25)
    assert len(kept_out) == sum(w.group in held for w in catalogue.windows)
    assert {w.domain for w in kept_out} == {REAL, SYNTHETIC}
    assert held_out_groups(catalogue.windows, 0) == frozenset()
    few = [w for w in catalogue.windows if w.domain == REAL]
    assert held_out_groups(built(few), 0.25) == {g for g in held if any(w.group == g for w in few)}
    assert len(held_out_groups(built([w for w in few if w.group == few[0].group]), 0.5)) == 0


def test_every_kind_of_source_has_a_clip_held_out() -> None:
    kinds = {"photo": 9, "video": 2, "stereo": 1}
    windows = [
        Window("data", "shard", k, REAL, ((k + 2) << 58) + ord(kind[0]), kind)
        for kind in kinds
        for k in range(kinds[kind])
    ]
    held = held_out(built(windows), 0.01)
    assert [windows[n].kind for n in np.flatnonzero(held)] == ["photo", "video"]
    # One is left to train on where all would be held out; held out of one kind, a group is held out of all.
    assert held_out(built(windows), 0.9999).sum() == 8 + 1
    mixed = built([Window("data", "shard", k, k // 2, g, "video") for k, g in enumerate((1, 9, 9, 10))])
    assert held_out(mixed, 0.5).tolist() == [True, True, True, False]


def test_a_clip_belongs_with_its_source() -> None:
    cut = [{"kind": "video", "sha256": "a", "key": str(k), "source": ["x"]} for k in (1, 2)]
    assert group_of(cut[0]) == group_of(cut[1])
    shot = {"kind": "sequence", "spec": {"shot": "0123456789ab"}}
    parts = [{**shot, "sha256": sha} for sha in ("0123456789abcdef", "b")]  # each part's own
    assert group_of(parts[0]) == group_of(parts[1])
    assert group_of(parts[0], sampling=1) != group_of(parts[1], sampling=1)  # as runs of that time had it
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


def test_a_shard_that_is_relabelled_is_read_on_in_its_next_revision(tmp_path: Path) -> None:
    """Between batches, more than once, with shards open already: each window from one revision, and it is said."""
    path = write_dataset(tmp_path / "data", SYNTHETIC, 4, 32, labels=("edges",))
    dataset, said = Dataset(path), list[str]()
    [name] = dataset.shards()
    config = replace(CONFIG, size=32, batch=2, held_out=0, workers=3, ahead=1)
    loader = Loader(read_catalogue([], [str(path)], 1), ("edges", "depth"), config, 0)
    whole = take(loader, 8)

    def relabel(value: int) -> None:
        base = dataset.open(dataset.shards()[0])
        edges = {"edges": np.full_like(base.read_rows("edges"), value)}
        commit_shard(dataset, base.id, edges, base.clips, {"edges": {"value": value}}, base=base)

    batches = Loader(loader.catalogue, ("edges", "depth"), config, 0).batches(0, 8)
    seen = [next(batches)]
    for value in (255, 51, 255):
        relabel(value)
    seen += list(batches)  # what is open may be read on to its end
    for old, new in zip(whole, seen, strict=True):
        assert torch.equal(old["image"], new["image"]) and torch.equal(old["depth"], new["depth"])

    later = Loader(loader.catalogue, ("edges", "depth"), config, 0)
    later.say = said.append
    for old, new in zip(whole, take(later, 8), strict=True):
        assert torch.equal(old["image"], new["image"])
        assert (new["edges"].transpose(1, 2)[:, 0][new["edges_weight"] > 0] == 1).all()
    [last] = dataset.shards()
    assert said == [f"{path}: {name} was replaced while it was read; going on with {last}"]

    dataset.storage.drop(dataset.shards()[0])  # nothing to go on with
    with pytest.raises(CorruptShard, match="no record"):
        take(Loader(loader.catalogue, ("edges",), config, 0), 1)


def versions_of_edges(tmp_path: Path) -> Path:
    """Four clips in one shard with edges of version 1, four in another with all 255, of version 2."""
    path = write_dataset(tmp_path / "data", SYNTHETIC, 8, 32, labels=("edges", "depth"), confidence=200)
    dataset = Dataset(path)
    base = dataset.open(dataset.shards()[1])
    anew = {name: base.read_rows(name) for name in ("edges", "edges_confidence")}
    anew["edges"] = np.full_like(anew["edges"], 255)
    made_by = {name: {"generator": "shapes", "version": 2} for name in anew}
    commit_shard(dataset, base.id, anew, base.clips, made_by, base=base)
    return path


@pytest.mark.parametrize("version", [1, 2])
def test_one_version_of_a_column_can_be_asked_for(tmp_path: Path, version: int) -> None:
    path = str(versions_of_edges(tmp_path))
    config = replace(CONFIG, size=32, held_out=0)
    fields = ("edges", "depth")
    assert read_catalogue([], [path], 1).mixed == {"edges": {"1": 16, "2": 16}}
    catalogue = read_catalogue([], [path], 1, versions=[f"edges={version}"])
    assert catalogue.mixed == {} and len(catalogue.windows) == 32
    batch = Loader(catalogue, fields, config, 0).centred(list(catalogue.windows))
    right = torch.tensor(
        [window.shard.startswith("shapes-0000") == (version == 1) for window in catalogue.windows]
    )
    assert (batch["edges_weight"][~right] == 0).all() and (batch["edges_weight"][right] > 0).any()
    assert (batch["edges"][right] == 1).all() == (version == 2)
    assert (batch["depth_weight"].flatten(1) > 0).any(dim=1).all()


def test_labels_of_two_makers_are_not_versions_of_one(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "data", SYNTHETIC, 8, 32, labels=("edges",))
    dataset = Dataset(path)
    base = dataset.open(dataset.shards()[1])
    edges = {"edges": base.read_rows("edges")}
    commit_shard(
        dataset, base.id, edges, base.clips, {"edges": {"generator": "drawn", "version": 2}}, base=base
    )
    assert read_catalogue([], [str(path)], 1).mixed == {}
    catalogue = read_catalogue([], [str(path)], 1, versions=["edges=2"])  # drawn by nobody else
    batch = Loader(catalogue, ("edges",), replace(CONFIG, size=32, held_out=0), 0).centred(
        list(catalogue.windows)
    )
    assert (batch["edges_weight"].flatten(1) > 0).any(dim=1).all()


def test_of_another_version_of_images_no_window_is_left(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "data", SYNTHETIC, 4, 32, labels=("edges",))
    assert len(read_catalogue([], [str(path)], 1, versions=["image=1"]).windows) == 16
    with pytest.raises(UserError, match=r"--loader.versions image=2: no shard has that; versions there: 1"):
        read_catalogue([], [str(path)], 1, versions=["image=2"])
    with pytest.raises(UserError, match="give COLUMN=VERSION, such as edges=5"):
        read_catalogue([], [str(path)], 1, versions=["image"])


def test_classes_that_a_run_does_not_know_end_it(tmp_path: Path) -> None:
    """They have no channel of the head; a table with the same classes in another order is renumbered."""
    path = tmp_path / "data"
    dataset = Dataset.create(path, {"size": [8, 8]})
    columns = {"image": np.zeros((1, 8, 8, 3), np.uint8), "semantic": np.ones((1, 8, 8), np.uint8)}
    clips = [{"rows": [0, 1], "kind": "render", "key": "1"}]

    def relabel(names: list[str]) -> None:
        base = dataset.open(dataset.shards()[0])
        attributes = {"semantic": {"names": names}}
        made_by = {"semantic": {"names": names}}
        semantic = {"semantic": columns["semantic"]}
        commit_shard(dataset, base.id, semantic, clips, made_by, base=base, attributes=attributes)

    names = {"semantic": {"names": ["floor", "cup"]}}
    commit_shard(dataset, "render-1", columns, clips, {n: {} for n in columns}, attributes=names)
    catalogue = read_catalogue([], [str(path)], 1)
    relabel(["cup", "floor"])
    config = replace(CONFIG, size=32, held_out=0)
    batch = Loader(catalogue, ("semantic",), config, 0).centred(list(catalogue.windows))
    assert batch["semantic"].unique().tolist() == [0]
    relabel(["floor", "bowl"])
    with pytest.raises(UserError, match=r"render-1.2: semantic has been made anew with classes .* \(bowl\)"):
        Loader(catalogue, ("semantic",), config, 0).centred(list(catalogue.windows))


@pytest.mark.parametrize("frames", [1, 2])
def test_resident_data_give_the_same_batches(data: tuple[str, str], frames: int) -> None:
    catalogue = read_catalogue([data[0]], [data[1]], frames)
    config = replace(CONFIG, frames=frames, augment=AugmentConfig(rotate=20, blur=0.5))
    fields = ("edges", "motion", "depth", "normals", "flow", "instance", "semantic")
    loader, resident = Loader(catalogue, fields, config, 3), Resident(catalogue, fields, config, 3)
    for a, b in zip(take(loader, 4, start=2), take(resident, 4, start=2), strict=True):
        vectors = {name: a.pop(name) for name in ("normals", "flow")}
        for name, vector in vectors.items():
            torch.testing.assert_close(b.pop(name), vector, rtol=1e-5, atol=1e-5)
        assert_same(a, b)
    resident.with_cv2 = False  # as on other devices
    (ours,) = take(resident, 1)
    (theirs,) = take(loader, 1)
    for name in set(ours) - {"image"}:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-5)
    assert float((ours["image"].float() - theirs["image"].float()).abs().mean()) < 5


def test_what_cant_be_resident_is_said(catalogue: Catalogue, data: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--loader.resident can't hold camera_K"):
        Resident(catalogue, ("camera_K",), CONFIG, 0)
    other = str(write_dataset(tmp_path / "other", REAL, 2, 40, labels=("edges",)))
    with pytest.raises(UserError, match=r"frames of one size; .*(40 × 40, others 48|48 × 48, others 40)"):
        Resident(read_catalogue([other, data[0]], [], 1), ("edges",), CONFIG, 0)
