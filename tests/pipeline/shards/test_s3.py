"""Datasets in an object store: the same bytes as in a folder, committed whole or not at all, whatever fails."""

import hashlib
import json
import os
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
import xarray
import zarr

from freelabels.ground.errors import CorruptShard, UserError
from freelabels.pipeline.cards import About, card
from freelabels.pipeline.quality.verify import verify
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset, NotADataset
from freelabels.pipeline.shards.exclusions import FILE as EXCLUSIONS
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.sources.clip_specs import SourceOptions
from freelabels.pipeline.stages.label import label
from freelabels.pipeline.stages.render import RenderOptions, render
from freelabels.pipeline.storage import object_store as object_storage
from freelabels.pipeline.storage.file_cache import FileCache
from freelabels.pipeline.storage.object_store import ATTEMPTS, COMMITS, ObjectStorage
from freelabels.pipeline.viewer.contact_sheet import draw_contact_sheet
from freelabels.pipeline.viewer.inspect import inspect
from freelabels.pipeline.viewer.page import write_html
from freelabels.pipeline.viewer.serve import make_server
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster
from freelabels.train.config import LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.data.catalogue import read_catalogue
from freelabels.train.data.loader import Loader
from freelabels.train.data.open_shards import OpenShards
from freelabels.train.run.trainer import fit
from tests.object_store import Proxy, every, s3_server
from tests.pipeline.shards.test_shards import CLIPS
from tests.pipeline.shards.test_shards import some_columns as all_columns
from tests.pipeline.viewer.test_page import ask
from tests.preloaded import Programs
from tests.sources import moving_frames, write_photos, write_video

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
QUIET = Reporter("quiet")
SIZE = (48, 48)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def root(server: str, request: pytest.FixtureRequest) -> str:
    return f"s3://bucket/{request.node.name.replace('[', '-').rstrip(']')}"


def through(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, patience: float = 60, retries: int = 4) -> None:
    """Lead this process's requests through a proxy, and wait so many seconds for an answer.

    retries: of the client, who waits twice as long before each; s3fs tries again besides.
    """
    config = {"read_timeout": patience, "retries": {"max_attempts": retries}}
    options = {"endpoint_url": proxy.url, "config_kwargs": config}
    monkeypatch.setitem(fsspec.config.conf, "s3", options)


def some_columns(seed: int = 0) -> dict[str, np.ndarray]:
    """A map of bytes and of floats, a table of matrices and of numbers: each is two objects, of two requests."""
    columns = all_columns(seed)
    return {name: columns[name] for name in ("image", "flow", "camera_K", "time")}


def commit(dataset: Dataset, shard: str = "video-1", seed: int = 0, **options: Any) -> str:
    columns = some_columns(seed)
    return commit_shard(
        dataset, shard, columns, CLIPS, {n: {"generator": "test"} for n in columns}, **options
    )


def assert_holds(
    shard: Shard, seed: int = 0, columns: Callable[[int], dict[str, np.ndarray]] = some_columns
) -> None:
    for name, values in columns(seed).items():
        np.testing.assert_array_equal(shard.read_rows(name), values)


def objects(root: str) -> list[str]:
    return sorted(fsspec.filesystem("s3", use_listings_cache=False).find(root))


def change_file(dataset: Dataset, shard: str, file: str, change: Callable[[bytes], bytes]) -> None:
    """Change the bytes of one file of a shard where they lie, in whichever layout."""
    [where, *span] = dataset.open(shard).references()[file]
    key = str(where).removeprefix(f"{dataset.path}/")
    whole = dataset.place.read(key)
    start, length = map(int, span) if span else (0, len(whole))
    changed = change(whole[start : start + length])
    dataset.place.write(key, whole[:start] + changed + whole[start + length :])


def contents(path: str | Path) -> dict[str, str]:
    """sha256 of every file of every shard, sound or not, by shard and file; a pack is read once for all in it."""
    dataset = Dataset(path)
    read = cache(lambda where: dataset.place.read(where.removeprefix(f"{dataset.path}/")))
    found = {}
    for name in dataset.shards():
        place, _ = dataset.storage.record(name)
        for file, [where, *span] in dataset.storage.references(place).items():
            start, length = map(int, span) if span else (0, None)
            data = read(where)[start:][:length]
            found[f"{name}/{file}"] = hashlib.sha256(data).hexdigest()
    return found


# --- the whole way: label → verify → inspect → train --------------------------------------------------------


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    write_photos(folder / "photos", 4)
    write_video(folder / "clip.mp4", moving_frames(6))
    return folder


def run_label(sources: Path, out: str | Path, workers: int = 0, **options: Any) -> Any:
    clips = SourceOptions(clip_length=3)
    options = {"labels": ["edges", "flow", "regions"], "shard_frames": 3, **options}
    return label(
        [str(sources)], out, size=SIZE, options=clips, cluster=Cluster(workers), reporter=QUIET, **options
    )


@pytest.fixture(scope="module")
def labelled(server: str, sources: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The same dataset, packed, in a folder, made in this process, and in the store, made by Ray's workers."""
    here, there = tmp_path_factory.mktemp("here") / "labelled", "s3://bucket/labelled"
    assert run_label(sources, here, layout="packed").complete
    assert run_label(sources, there, workers=2).complete
    return here, there


@pytest.mark.ray
def test_the_bytes_are_those_of_a_folder(labelled: tuple[Path, str]) -> None:
    here, there = labelled
    assert len(Dataset(there).shards()) == 4
    assert contents(there) == contents(here)


@pytest.mark.ray
def test_verify_and_inspect_say_what_they_say_of_a_folder(labelled: tuple[Path, str], tmp_path: Path) -> None:
    here, there = labelled
    assert verify(there, reporter=QUIET, cluster=Cluster(0)).problems == ()
    figures, theirs = inspect(here), inspect(there)
    assert {**theirs, "dataset": ""} == {**figures, "dataset": ""}
    sheet = draw_contact_sheet(there, tmp_path / "sheet.png", frames=2)
    cards = [card(path, About(name="Two places")) for path in (here, there)]
    assert [file.read_bytes() for file in cards[0]] == [file.read_bytes() for file in cards[1]]
    assert sheet.read_bytes() == draw_contact_sheet(here, tmp_path / "here.png", frames=2).read_bytes()


@pytest.mark.ray
def test_the_page_is_the_same_and_what_is_ticked_there_is_not_trained_on(
    labelled: tuple[Path, str], sources: Path, root: str, tmp_path: Path
) -> None:
    pages = [
        write_html([str(path)], tmp_path / f"{k}.html", frames=4, clips=0, places=True)
        .read_text()
        .replace(str(path), "")
        for k, path in enumerate(labelled)
    ]
    assert pages[0] == pages[1]
    run_label(sources / "photos", root)
    before = len(read_catalogue([root], [], 1).windows)
    server = make_server([root], 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        status, picture = ask(address, "/picture/0/0/0/edges")
        assert status == 200 and picture[:4] == b"RIFF"
        assert ask(address, "/values/0/0/0/edges")[0] == 200
        tick = json.dumps({"exclude": [[0, 0]]}).encode()
        assert ask(address, "/exclusions/0", {"Content-Type": "application/json"}, tick)[0] == 200
        assert json.loads(ask(address, "/exclusions")[1]) == [[[0, 0]]]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert fsspec.filesystem("s3", use_listings_cache=False).exists(f"{root}/{EXCLUSIONS}")
    assert len(read_catalogue([root], [], 1).windows) == before - 1


@pytest.mark.ray
def test_training_reads_the_same_batches(labelled: tuple[Path, str], tmp_path: Path) -> None:
    config = LoaderConfig(size=32, batch=3, held_out=0.25, buffer=2)
    cached = replace(config, cache=str(tmp_path / "cache"))
    batches = []
    for path, how in ((labelled[0], config), (labelled[1], config), (labelled[1], cached)):
        loader = Loader(read_catalogue([str(path)], [], 1), ("edges", "flow"), how, seed=3)
        batches.append(list(loader.batches(0, 3)))
    for a, b, c in zip(*batches, strict=True):
        for name in a:
            assert torch.equal(a[name], b[name]) and torch.equal(a[name], c[name]), name


@pytest.mark.ray
def test_a_model_trains_from_the_store(labelled: tuple[Path, str], tmp_path: Path) -> None:
    config = TrainConfig(
        steps=2,
        precision="fp32",
        device="cpu",
        evaluate=4,
        tasks=("edges",),
        loader=LoaderConfig(size=32, batch=2, held_out=0.25, cache=str(tmp_path / "cache")),
        model=ModelConfig("test_resnet", width=16),
    )
    here, there = (fit([str(p)], [], tmp_path / f"run{k}", config) for k, p in enumerate(labelled))
    assert here.finished and there.steps == 2 and there.scores == here.scores


def test_what_is_up_to_date_is_left_alone_and_a_new_label_shares_the_rest(sources: Path, root: str) -> None:
    photos = sources / "photos"
    run_label(photos, root, labels=["regions"], layout="folders")
    before = contents(root)
    assert run_label(photos, root, labels=["regions"]).made == 0
    assert run_label(photos, root, labels=["edges"]).made == 2
    after = {key.replace(".1/", ".0/"): value for key, value in contents(root).items()}
    assert all(name.endswith(".1") for name in Dataset(root).shards())
    shared = {key for key in before if not key.endswith(".0/zarr.json")}
    assert shared < set(after) and all(after[key] == before[key] for key in shared)
    assert verify(root, reporter=QUIET, cluster=Cluster(0)).problems == ()
    assert not [path for path in objects(root) if ".0-" in path]  # nothing is left of the old revision


def test_sources_may_lie_beside_the_output(sources: Path, root: str) -> None:
    for photo in sorted((sources / "photos").iterdir())[:2]:
        fsspec.filesystem("s3").pipe(f"{root}/{photo.name}", photo.read_bytes())
    out = f"{root}/out"
    for made in (1, 0):  # the second time the output is there, and no source
        summary = label(
            [root], out, size=SIZE, labels=["regions"], cluster=Cluster(0), reporter=QUIET, shard_frames=3
        )
        assert (summary.made, summary.frames, summary.refused) == (made, 2, 0)


@pytest.mark.renders
def test_renders_go_there_too(root: str, tmp_path: Path) -> None:
    options = RenderOptions(frames=2, size=(32, 32))
    for out in (root, tmp_path / "out"):
        assert render(out, 1, options, layout="packed", cluster=Cluster(0), reporter=QUIET).complete
    assert contents(root) == contents(tmp_path / "out")
    assert render(root, 1, options, cluster=Cluster(0), reporter=QUIET).made == 0


def test_other_zarr_readers_open_a_shard(root: str) -> None:
    dataset = Dataset.create(root, {}, "folders")
    shard = dataset.open(commit(dataset))
    second = dataset.open(
        commit_shard(
            dataset, "video-1", {"edges": np.ones((5, 24, 32), np.uint8)}, CLIPS, {"edges": {}}, base=shard
        )
    )
    group = zarr.open_group(zarr.storage.FsspecStore.from_url(second.address, read_only=True), mode="r")
    table = xarray.open_zarr(second.address)
    for name, values in some_columns().items():
        np.testing.assert_array_equal(group[name][:], values)
        np.testing.assert_array_equal(table[name].values, values)
    assert (group["edges"][:] == 1).all() and table["flow"].attrs["units"] == "px"


# --- commits ------------------------------------------------------------------------------------------------

UPLOADERS = textwrap.dedent(
    """
    import os, sys, time
    import numpy as np
    import s3fs
    from freelabels.pipeline.shards.commit import commit_shard
    from freelabels.pipeline.shards.dataset import Dataset
    columns = dict(np.load(sys.argv[2]))
    clips = [{"rows": [0, len(columns["image"])], "kind": "video"}]
    children = []
    for number in range(4):  # forked before any thread is started
        child = os.fork()
        if child == 0:
            dataset = Dataset(sys.argv[1])
            for n in range(10_000):
                commit_shard(dataset, f"video-{n}", columns, clips, {name: {} for name in columns})
        children.append(child)
    print(*children, flush=True)
    for child in children:
        os.waitpid(child, 0)
    """
)


@pytest.mark.kill
def test_a_commit_is_never_seen_half_done_and_a_killed_upload_not_at_all(
    root: str, tmp_path: Path, programs: Programs
) -> None:
    dataset = Dataset.create(root, {}, "folders")
    seen: set[str] = set()
    stop = threading.Event()

    def read_new(watched: Dataset) -> None:
        for name in set(watched.shards()) - seen:
            shard = watched.open(name)
            assert_holds(shard, columns=all_columns)
            assert len(watched.storage.files(shard.place)) == 1 + 2 * len(shard.fields)
            seen.add(name)

    def look() -> None:
        """Read everything that the listing shows as soon as it does."""
        watched = Dataset(root)
        while not stop.is_set():
            read_new(watched)

    np.savez(tmp_path / "columns.npz", **all_columns())  # a kill in the midst of many objects is likely
    rng = np.random.default_rng()
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(look)
        try:
            parent = programs.start("-c", UPLOADERS, root, tmp_path / "columns.npz")
            for child in parent.line().split():
                waited = len(seen)
                while len(seen) == waited and not watching.done():
                    time.sleep(0.01)
                time.sleep(0.3 * rng.random())
                os.kill(int(child), signal.SIGKILL)
            parent.communicate()
            time.sleep(0.5)
        finally:
            stop.set()
        watching.result()
    assert len(seen) >= 2
    read_new(dataset)  # what was committed since the last look
    committed = dataset.shards()
    assert seen == set(committed)
    assert dataset.storage.sweep() == 0  # nobody can know yet that they are dead
    left = len(dataset.storage._names(ATTEMPTS))  # type: ignore[attr-defined]
    assert left >= 1
    late = ObjectStorage(root, abandoned=timedelta(0))
    assert late.sweep() <= left and late._names(ATTEMPTS) == []
    places = {Dataset(root).open(name).place for name in committed}
    folders = {path.split("/")[2] for path in objects(root) if path.count("/") > 2}
    assert folders == {*places, COMMITS} and dataset.shards() == committed


@pytest.mark.parametrize("same", [True, False])
def test_of_two_writers_one_wins(root: str, server: str, monkeypatch: pytest.MonkeyPatch, same: bool) -> None:
    with Proxy(server) as proxy:
        through(proxy, monkeypatch)
        Dataset.create(root, {}, "folders")
        both = threading.Barrier(2)

        def write(seed: int) -> None:
            dataset = Dataset(root)
            both.wait()
            commit(dataset, seed=seed)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(write, (0, 0 if same else 1)))
        shard = Dataset(root).open("video-1.0")
        winner = int(not np.array_equal(shard.read_rows("image"), some_columns(0)["image"]))
        assert_holds(shard, winner)
        folders = {path.split("/")[2] for path in objects(root) if path.count("/") > 2}
        assert folders == {shard.place, COMMITS}  # the other's objects are gone


def test_an_answer_that_got_lost_does_not_undo_a_commit(
    root: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[str] = []

    def fault(method: str, path: str) -> str:
        if method == "PUT" and COMMITS in path and not lost:
            lost.append(path)
            return "lost"
        return ""

    with Proxy(server, fault) as proxy:
        through(proxy, monkeypatch)
        dataset = Dataset.create(root, {}, "folders")
        shard = dataset.open(commit(dataset))
    assert lost
    monkeypatch.undo()
    assert_holds(Dataset(root).open(shard.name))


def test_a_sweep_spares_what_is_committed_and_what_is_young(root: str) -> None:
    dataset = Dataset.create(root, {}, "folders")
    shard = dataset.open(commit(dataset))
    storage = dataset.storage
    storage.write(f"{ATTEMPTS}/{shard.place}", b".")  # as if killed right after the commit
    storage.write(f"{ATTEMPTS}/video-2.0-0123456789ab", b".")
    storage.write("video-2.0-0123456789ab/image/zarr.json", b"{}")
    assert storage.sweep() == 0 and storage.exists("video-2.0-0123456789ab/image/zarr.json")
    assert dataset.shards() == [shard.name]
    assert ObjectStorage(root, abandoned=timedelta(0)).sweep() == 1
    assert not storage.exists("video-2.0-0123456789ab/image/zarr.json")
    assert_holds(dataset.open(shard.name))


def test_no_wall_clock_decides_what_is_swept(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Dataset.create(root, {}, "folders")
    dataset.storage.write(f"{ATTEMPTS}/video-2.0-0123456789ab", b".")
    monkeypatch.setattr(time, "time", lambda: 4e9)  # this machine believes in the year 2096
    assert dataset.storage.sweep() == 0


def test_an_attempt_that_takes_as_long_as_a_sweep_would_wait_gives_up(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset.create(root, {}, "folders")
    monkeypatch.setattr(object_storage, "LONGEST_ATTEMPT", timedelta(0))
    with pytest.raises(OSError, match="took too long"):
        commit(dataset)
    assert dataset.shards() == []


def test_an_attempt_that_was_swept_gives_up(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Dataset.create(root, {}, "folders")
    fill = ObjectStorage._fill

    def fill_and_sleep(storage: ObjectStorage, *arguments: Any) -> None:
        fill(storage, *arguments)
        assert ObjectStorage(root, abandoned=timedelta(0)).sweep() == 1  # as if days had gone by

    monkeypatch.setattr(ObjectStorage, "_fill", fill_and_sleep)
    with pytest.raises(OSError, match="took too long"):
        commit(dataset)
    assert dataset.shards() == [] and [path.rpartition("/")[2] for path in objects(root)] == [
        ".clock",
        "zarr.json",
    ]


def test_listing_takes_one_request_however_many_shards(
    root: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset.create(root, {}, "folders")
    for number in range(40):  # a listing reads no record
        dataset.storage.write(f"{COMMITS}/video-{number:02}.0", b".")
    with Proxy(server) as proxy:
        through(proxy, monkeypatch)
        fsspec.filesystem("s3", use_listings_cache=False).exists("s3://bucket/any")  # connects
        proxy.requests.clear()
        assert len(Dataset(root).shards()) == 40
        assert proxy.requests == {"GET": 2}  # the dataset's record, for the layout, and the listing


def test_reading_in_order_takes_few_requests_and_a_frame_takes_two(
    root: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset.create(root, {}, "folders")
    frames = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), dtype=np.uint8)
    name = commit_shard(dataset, "video-1", {"image": frames}, [{"rows": [0, 64]}], {"image": {}})
    with Proxy(server) as proxy:
        through(proxy, monkeypatch)
        shard = Dataset(root).open(name)
        proxy.requests.clear()
        np.testing.assert_array_equal(shard.read("image", 40), frames[40])
        assert proxy.requests == {"GET": 2}  # its index, and the frame
        np.testing.assert_array_equal(shard.read_rows("image"), frames)
        assert proxy.requests["GET"] <= 10


def test_the_columns_of_a_window_are_asked_for_at_the_same_time(
    root: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server answers nothing before it is asked for all three: first for their ends, then for the frames."""
    columns = {name: all_columns()[name] for name in ("image", "flow", "depth")}
    name = commit_shard(Dataset.create(root, {}), "video-1", columns, CLIPS, {n: {} for n in columns})
    together = threading.Barrier(len(columns))

    def wait(method: str, path: str) -> str:
        if "/c/" in path:
            together.wait(60)
        return ""

    with Proxy(server, wait) as proxy:
        through(proxy, monkeypatch)
        shard = Dataset(root).open(name)
        found = shard.read_columns(tuple(columns), 1, 3)
        assert proxy.requests["GET"] == 2 + 2 * len(
            columns
        )  # the dataset's record and the shard's come first
    for column, values in columns.items():
        np.testing.assert_array_equal(found[column], values[1:3])


def test_a_reader_asks_for_a_datasets_own_record_once(
    root: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset.create(root, {})
    names = [commit(dataset, f"video-{number}", seed=number) for number in range(3)]
    with Proxy(server) as proxy:
        through(proxy, monkeypatch)
        shards = OpenShards(most=2)
        for name in names:
            with shards.opened(root, name):
                pass
        shards.close()
        assert proxy.requests == {"GET": 1 + len(names)}


# --- failures -----------------------------------------------------------------------------------------------


def test_a_store_that_fails_and_is_slow_now_and_then_is_survived(
    sources: Path, root: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = sources / "photos"
    run_label(photos, tmp_path / "out", labels=["regions"], layout="packed")
    with Proxy(server, every(14, "500", "503", "lost", "cut", "slow")) as proxy:
        through(proxy, monkeypatch, patience=1)
        assert run_label(photos, root, labels=["regions"]).complete
        assert contents(root) == contents(tmp_path / "out")
        assert verify(root, reporter=QUIET, cluster=Cluster(0)).problems == ()
        assert all(proxy.faults[kind] for kind in ("500", "503", "lost", "cut", "slow"))


def test_a_store_that_stays_broken_costs_one_sentence(
    root: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(server, lambda method, path: "500") as proxy:
        through(proxy, monkeypatch, retries=0)
        with pytest.raises(UserError, match=rf"^{root} can't be used .*; check its address") as error:
            Dataset.create(root, {}, "folders")
    assert "\n" not in str(error.value)


def test_no_bucket_no_package_no_such_kind(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"s3://nowhere/data can't be used .*bucket does not exist"):
        Dataset.create("s3://nowhere/data", {}, "folders")
    with pytest.raises(NotADataset, match="not a Freelabels dataset"):
        _ = Dataset("s3://bucket/nothing").attributes
    with pytest.raises(UserError, match="odd:// is not a kind of address"):
        Dataset("odd://bucket/data").shards()
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "gs", raising=False)  # by another test
    with pytest.raises(UserError, match=r"gs:// needs a package .*pip install 'freelabels\[gcs\]'"):
        Dataset("gs://bucket/data").shards()


def test_a_prefix_with_something_else_is_not_touched(root: str) -> None:
    fsspec.filesystem("s3").pipe(f"{root}/thesis.txt", b"years of work")
    with pytest.raises(NotADataset, match="holds something else"):
        Dataset.create(root, {}, "folders")
    assert [path.rpartition("/")[2] for path in objects(root)] == ["thesis.txt"]


@pytest.mark.ray
@pytest.mark.parametrize(
    ("layout", "damage"),
    [
        ("packed", "flip"),
        ("packed", "truncate"),
        ("folders", "flip"),
        ("folders", "truncate"),
        ("folders", "delete"),
    ],
)
def test_damage_is_found_named_and_repaired(
    labelled: tuple[Path, str], sources: Path, root: str, layout: str, damage: str
) -> None:
    run_label(sources / "photos", root, labels=["edges"], layout=layout)
    dataset, before = Dataset(root), contents(root)
    shard = dataset.open(dataset.shards()[0])
    if damage == "delete":
        fsspec.filesystem("s3").rm(str(shard.references()["edges/c/0/0/0"][0]))
    else:
        change_file(
            dataset,
            shard.name,
            "edges/c/0/0/0",
            lambda data: (
                bytes(len(data)) if damage == "truncate" else data[:9] + bytes([data[9] ^ 1]) + data[10:]
            ),
        )
    with pytest.raises(CorruptShard, match="edges"):
        dataset.open(shard.name).read_rows("edges")
    summary = verify(root, repair=True, reporter=QUIET, cluster=Cluster(0))
    assert {(p.shard, p.column) for p in summary.problems} == {(shard.name, "edges")}
    run_label(sources / "photos", root, labels=["edges"])
    after = {key.partition(".")[0] + key.partition("/")[2]: value for key, value in contents(root).items()}
    for key, value in before.items():
        if not key.endswith(".0/zarr.json"):
            assert after[key.partition(".")[0] + key.partition("/")[2]] == value
    assert verify(root, reporter=QUIET, cluster=Cluster(0)).problems == ()


def test_what_could_not_be_asked_for_is_not_dropped(
    root: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset.create(root, {}, "folders")
    columns = {"image": some_columns()["image"]}
    name = commit_shard(dataset, "video-1", columns, CLIPS, {"image": {}})
    with Proxy(server, lambda method, path: "500" if "/image/c/" in path else "") as proxy:
        through(proxy, monkeypatch, retries=0)
        summary = verify(root, repair=True, reporter=QUIET, cluster=Cluster(0, attempts=1))
    assert [p.unread for p in summary.problems] == [True] and summary.repaired == 0
    monkeypatch.undo()
    assert dataset.shards() == [name]
    assert verify(root, reporter=QUIET, cluster=Cluster(0)).problems == ()


@pytest.mark.parametrize("text", [b"", b"nonsense", b"video-1.0-0123456789ab\n{}"])
def test_a_damaged_commit_is_an_error_and_repaired(root: str, text: bytes) -> None:
    dataset = Dataset.create(root, {}, "folders")
    name = commit(dataset)
    dataset.storage.write(f"{COMMITS}/{name}", text)
    with pytest.raises(CorruptShard, match=name):
        dataset.open(name)
    assert verify(root, repair=True, reporter=QUIET, cluster=Cluster(0)).repaired == 1
    ObjectStorage(root, abandoned=timedelta(0)).sweep()
    assert dataset.shards() == []


# --- the cache ----------------------------------------------------------------------------------------------


def test_what_is_cached_is_not_fetched_again_and_checked(
    root: str, server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dataset = Dataset.create(root, {}, "folders")
    name = commit(dataset)
    cache = FileCache(tmp_path / "cache", 1 << 20)
    assert_holds(Dataset(root, cache).open(name))
    with Proxy(server) as proxy:
        through(proxy, monkeypatch)
        shard = Dataset(root, cache).open(name)
        proxy.requests.clear()
        assert_holds(shard)
        assert not proxy.requests
        files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
        assert len(files) == len({path.name for path in files}) == len(shard.fields)
        files[0].write_bytes(files[0].read_bytes()[:-1])
        os.truncate(files[1], 0)
        assert_holds(Dataset(root, cache).open(name))
        assert proxy.requests["GET"] == 2 + 2  # both records, and the two that were damaged


def test_the_cache_stays_within_its_bound_and_readers_keep_what_they_have(root: str, tmp_path: Path) -> None:
    dataset = Dataset.create(root, {}, "folders")
    names = [commit(dataset, f"video-{number}", seed=number) for number in range(4)]
    size = sum(
        entry["bytes"]
        for column in dataset.open(names[0]).record["columns"].values()
        for key, entry in column["objects"].items()
        if "/c/" in key
    )
    cache = FileCache(tmp_path, 2 * size)
    shards = [Dataset(root, cache).open(name) for name in names]
    for number, shard in enumerate(shards):
        assert_holds(shard, number)
        held = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
        assert held <= 2.1 * size
    for number, shard in enumerate(shards):  # files that were given up are still open
        assert_holds(shard, number)


def test_any_number_of_readers_share_a_cache(root: str, tmp_path: Path) -> None:
    dataset = Dataset.create(root, {}, "folders")
    names = [commit(dataset, f"video-{number}", seed=number) for number in range(3)]

    def read(turn: int) -> None:
        cache = FileCache(tmp_path, 1 << 14)  # too small, so that they take it from one another
        for number in np.random.default_rng(turn).permutation(3):
            shard = Dataset(root, cache).open(names[number])
            assert_holds(shard, int(number))
            shard.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(8)))


def test_the_wrong_content_never_gets_into_the_cache(root: str, tmp_path: Path) -> None:
    dataset = Dataset.create(root, {}, "folders")
    shard = Dataset(root, FileCache(tmp_path, 1 << 20)).open(commit(dataset))
    dataset.storage.write(f"{shard.place}/time/c/0", dataset.storage.read(f"{shard.place}/camera_K/c/0/0/0"))
    with pytest.raises(CorruptShard, match="does not match its checksum"):
        shard.read_rows("time")
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


# --- small things -------------------------------------------------------------------------------------------


def test_logs_lie_beside_the_shards(root: str) -> None:
    dataset = Dataset.create(root, {}, "folders")
    log = dataset.failures_log()
    assert not log.exists() and str(log) == f"{root}/failures.jsonl"
    log.write_lines([])
    assert log.exists() and log.read_text() == ""
    log.write_lines([{"error": "a"}, {"error": "b"}])
    assert [json.loads(line)["error"] for line in log.read_text().splitlines()] == ["a", "b"]


def test_any_store_that_fsspec_knows_will_do() -> None:
    dataset = Dataset.create("memory://data", {}, "folders")
    first = dataset.open(commit(dataset))
    assert_holds(first)
    assert commit(dataset, seed=1) == first.name
    assert_holds(dataset.open(first.name))
    second = commit_shard(dataset, "video-1", {}, CLIPS, {}, base=first, drop=["flow"])
    assert dataset.shards() == [second] and "flow" not in dataset.open(second).fields
    assert [shard.name for shard in dataset.open_all(dataset.shards())] == [second]
    dataset.storage.write(f"{ATTEMPTS}/video-2.0-0123456789ab", b".")
    assert dataset.storage.sweep() == 0
    assert ObjectStorage("memory://data", abandoned=timedelta(0)).sweep() == 1
    dataset.storage.drop(second)
    assert dataset.shards() == []
