"""Datasets on Google's object store: an emulator of it on loopback, reached as users reach the store."""

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from gcp_storage_emulator.server import create_server

from freelabels.pipeline.quality.verify import verify
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.stages.label import label
from freelabels.pipeline.storage.layouts import LAYOUTS
from freelabels.pipeline.storage.object_store import ATTEMPTS
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster
from tests.pipeline.shards.test_shards import CLIPS, some_columns
from tests.pipeline.stages.test_label import run
from tests.sources import write_photos

QUIET = Reporter("quiet")


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # asks by gRPC, which the emulator lacks
        options = {"token": "anon", "endpoint_url": f"http://127.0.0.1:{port}"}
        patch.setitem(fsspec.config.conf, "gs", options)
        server = create_server("127.0.0.1", port, in_memory=True, default_bucket="bucket")
        server.start()
        yield "gs://bucket"
        server.stop()


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_label_verify_and_again_as_in_a_folder(bucket: str, tmp_path: Path, layout: str) -> None:
    write_photos(tmp_path / "photos", 3)
    here, there = tmp_path / "out", f"{bucket}/{layout}"
    for labels, made in ((["regions"], 3), (["regions"], 0), (["edges"], 3)):
        run([tmp_path / "photos"], here, labels=labels, shard_frames=1)
        summary = run([tmp_path / "photos"], there, labels=labels, shard_frames=1, layout=layout)
        assert summary.complete and summary.made == made
    ours, theirs = Dataset(here), Dataset(there)
    assert theirs.shards() == ours.shards()
    for name in ours.shards():
        one, other = ours.open(name), theirs.open(name)
        assert one.fields == other.fields
        for field in one.fields:
            np.testing.assert_array_equal(one.read_rows(field), other.read_rows(field))
    assert verify(there, reporter=QUIET, cluster=Cluster(0)).problems == ()
    assert theirs.place.files(ATTEMPTS) == []


@pytest.mark.slow
def test_a_source_in_the_store(bucket: str, tmp_path: Path) -> None:
    for photo in write_photos(tmp_path / "photos", 2):
        fsspec.filesystem("gs").pipe(f"{bucket}/photos/{photo.name}", photo.read_bytes())
    out = tmp_path / "out"
    summary = label(
        [f"{bucket}/photos"], out, labels=["regions"], size=(64, 64), cluster=Cluster(0), reporter=QUIET
    )
    assert (summary.made, summary.frames, summary.refused) == (1, 2, 0)


@pytest.mark.slow
def test_who_comes_second_changes_nothing(bucket: str) -> None:
    dataset = Dataset.create(f"{bucket}/second", {})
    columns = some_columns()
    made_by = {name: {"generator": "test"} for name in columns}
    names = [commit_shard(dataset, "video-1", columns, CLIPS, made_by) for _ in range(2)]
    assert dataset.shards() == [names[0]] == [names[1]]
    for name, values in columns.items():
        np.testing.assert_array_equal(dataset.open(names[0]).read_rows(name), values)
