"""What label bytes owe to the processor: nothing but AVX2, in photos and video without parallax.

Libraries choose their code by what the processor can do. Here they are told that it can do less.
"""

import os
import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tests.sources import moving_frames, write_photos, write_video

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the levels are those of x86-64")

LABEL = """
    import os, sys

    sys.path.insert(0, sys.argv[1])
    import cv2
    import numpy as np

    cv2.setNumThreads(int(os.environ["OMP_NUM_THREADS"]))
    from freelabels import label
    from freelabels.pipeline.shards.dataset import Dataset
    from freelabels.pipeline.work.progress import Reporter
    from freelabels.pipeline.work.runner import Cluster

    source, out = sys.argv[2:]
    assert label(source, out, size=(96, 96), cluster=Cluster(workers=0), reporter=Reporter("quiet")).complete
    columns, dataset = {}, Dataset(out)
    for name in dataset.shards():
        shard = dataset.open(name)
        columns |= {f"{name.partition('-')[0]} {field}": shard.read_rows(field) for field in shard.fields}
    np.savez(out + ".npz", **columns)
"""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
WITHOUT_AVX512 = {
    "NPY_DISABLE_CPU_FEATURES": "AVX512_SPR AVX512_ICL X86_V4",
    "OPENCV_CPU_DISABLE": "AVX512-SKX",
    "OPENCV_IPP": "avx2",
    "OPENBLAS_CORETYPE": "Haswell",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL",
}
WITHOUT_AVX = {
    "NPY_DISABLE_CPU_FEATURES": "AVX512_SPR AVX512_ICL X86_V4 X86_V3",
    "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FP16,AVX,FMA3",
    "OPENCV_IPP": "sse42",
    "OPENBLAS_CORETYPE": "Nehalem",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA,-AVX",
}
SIXTEEN_THREADS = {"OMP_NUM_THREADS": "16", "OPENBLAS_NUM_THREADS": "16"}

# What may differ without AVX2: the share of values, as docs/guarantees.md says. All others are the same.
MAY_DIFFER = {
    "edges": 0.01,
    "flow": 0.05,
    "flow_backward": 0.05,
    "foreground": 0.02,
    "motion": 0.01,
    "saliency": 0.02,
    "speed": 1.0,  # medians of flow: two values a frame, so any of them
}

Columns = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    write_photos(folder / "photos", 3, 160)
    write_video(folder / "clip.mp4", moving_frames(6, 144, 192))
    return folder


def labelled(source: Path, out: Path, **environment: str) -> Columns:
    """All labels, made by a process in this environment."""
    script = out.with_suffix(".py")
    script.write_text(textwrap.dedent(LABEL))
    own = {**os.environ, **ONE_THREAD, **environment}
    command = [sys.executable, script, ROOT, source, out]
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    with np.load(f"{out}.npz") as columns:
        return dict(columns)


@pytest.fixture(scope="module")
def here(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Columns:
    return labelled(source, tmp_path_factory.mktemp("here") / "out")


def different(one: Columns, other: Columns) -> dict[str, float]:
    """Share of the values that differ, by column."""
    assert one.keys() == other.keys() and len(one) > 25
    found = {}
    for name, values in one.items():
        if values.tobytes() != other[name].tobytes():
            found[name] = float(np.mean(~np.isclose(values, other[name], rtol=0, atol=0, equal_nan=True)))
    return found


@pytest.mark.slow
@pytest.mark.timeout(290)
def test_the_bytes_are_the_same_without_avx512_and_on_sixteen_threads(
    source: Path, here: Columns, tmp_path: Path
) -> None:
    other = labelled(source, tmp_path / "out", **WITHOUT_AVX512, **SIXTEEN_THREADS)
    assert different(here, other) == {}


@pytest.mark.slow
@pytest.mark.timeout(290)
def test_without_avx2_little_differs_and_in_few_fields(source: Path, here: Columns, tmp_path: Path) -> None:
    other = labelled(source, tmp_path / "out", **WITHOUT_AVX)
    for name, share in different(here, other).items():
        field = name.partition(" ")[2].removesuffix("_confidence")
        assert field in MAY_DIFFER and share <= MAY_DIFFER[field], (name, share)
    for name in ("video flow", "video flow_backward", "video speed"):
        assert np.nanmax(np.abs(here[name].astype(float) - other[name])) < 1 / 16, name  # pixels
