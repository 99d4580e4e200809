"""The same seed gives the same bytes whatever instructions the processor has and whichever kernels BLAS picks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.draw.scenes import draw_rig
from freelabels.renderers.render import find_scene, render_clip
from freelabels.renderers.scene.assets import library
from freelabels.renderers.scene.scene import scene_to_json
from tests.preloaded import ROOT

HERE = "tests.renderers.test_bytes"
# What NumPy has beyond the x86-64 of 2009 and this processor offers; BLAS and OpenCV as on a machine of that time.
NEWER = [name for name in __cpu_dispatch__ if __cpu_features__.get(name)]
OLD_MACHINE = {
    "NPY_DISABLE_CPU_FEATURES": " ".join(NEWER),
    "OPENBLAS_CORETYPE": "Nehalem",
    "OPENCV_CPU_DISABLE": "AVX512_SKX,AVX512_CNL,AVX512_CLX,AVX512_ICL,AVX2,FP16,AVX",
}


def digests() -> dict[str, str]:
    """sha256 of the scene and of every column of a few clips."""
    groups = {"primitive": 1, "random": 1, "household": 2, "articulated": 1, "made": 1}
    effects = {"distorted": 0.7, "rolling": 0.6, "blurred": 0.7, "defocused": 0.6}
    ranges = SceneRanges(objects=(5, 5), groups=groups, attempts=2, **effects)  # type: ignore[arg-type]
    assets, found = library(), {}
    for clip, family in enumerate(("table", "table", "room", "room", "street", "shelf")):
        of = dataclasses.replace(ranges, families={family: 1})
        scene, motion = find_scene(4, clip, of, assets, 2, 40)
        if family == "shelf":  # with a right view, dots and a depth sensor
            scene = dataclasses.replace(scene, rig=draw_rig(scene, of, "active", True))
        columns = render_clip(scene, assets, 2, 40, simulation=motion).columns
        made = {name: values.tobytes() for name, values in columns.items()}
        made["scene"] = json.dumps(scene_to_json(scene)).encode()
        found |= {f"{name} of clip {clip}": hashlib.sha256(data).hexdigest() for name, data in made.items()}
    return found


def digests_of_an_old_machine(cache: Path) -> dict[str, str]:
    """The same by a process that has nothing cached and is kept from newer instructions."""
    done = subprocess.run(
        [sys.executable, "-c", f"import json; from {HERE} import digests; print(json.dumps(digests()))"],
        env={**os.environ, "FREELABELS_CACHE": str(cache), "OMP_NUM_THREADS": "1", **OLD_MACHINE},
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.renders
def test_an_older_processor_makes_the_same_bytes(tmp_path: Path) -> None:
    new, old = digests(), digests_of_an_old_machine(tmp_path)
    assert len(new) > 5 * 30
    assert [name for name, digest in new.items() if digest != old[name]] == []
