"""The detectors keep the contract, and its test finds those that don't."""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import numpy as np
import pytest

from freelabels.generators.contract.clip import (
    BASELINE,
    CONSECUTIVE,
    INTRINSICS,
    SENSOR_DEPTH,
    SOUND,
    STEREO,
    Clip,
)
from freelabels.generators.contract.detector import Detector, detectors, inputs, run_detectors
from freelabels.generators.contract.fields import Array
from freelabels.generators.contract.geometry import backproject, project
from freelabels.generators.contract.sample_clips import filmed, provided, ready_for, sample_clips
from freelabels.testing import ContractBroken, check_detector
from tests.contract.broken_detectors import BROKEN, Clever, Darkness, Demanding, Facing, Still


@pytest.fixture(autouse=True, scope="module")
def labels_are_made_once() -> Iterator[None]:
    """Labels that many detectors read of the same samples; whoever asks for them gets arrays of their own."""

    @cache
    def answer(request: bytes) -> bytes:
        return pickle.dumps(run_detectors(*pickle.loads(request)))

    def one_by_one(clip: Clip, chosen: Sequence[Detector]) -> dict[str, Array]:
        made: dict[str, Array] = {}
        for detector in chosen:
            available = {**clip.labels, **made}
            seen = {name: available[name] for name in inputs(detector, available)}
            made |= pickle.loads(answer(pickle.dumps((replace(clip, labels=seen), [detector]))))
        return made

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("freelabels.generators.contract.sample_clips.run_detectors", one_by_one)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", list(detectors()))
def test_a_built_in_detector(name: str) -> None:
    check_detector(detectors()[name]())


@pytest.mark.parametrize("detector", [Darkness(), Clever(), Facing(), Still()], ids=lambda d: d.name)
def test_others_may_do_it_in_other_ways(detector: Darkness) -> None:
    check_detector(detector)


@pytest.mark.slow
@pytest.mark.parametrize("broken", list(BROKEN), ids=lambda cls: cls.__name__)
def test_what_breaks_it_is_told_in_a_sentence(broken: type) -> None:
    with pytest.raises(ContractBroken) as raised:
        check_detector(broken())
    assert str(raised.value).startswith(f"{broken.name} ")
    assert BROKEN[broken] in str(raised.value)


def test_a_class_that_no_worker_can_load_is_told() -> None:
    @dataclass(frozen=True)
    class Inside(Darkness):
        name: ClassVar[str] = "inside"

    with pytest.raises(ContractBroken, match="inside can't be sent to a worker"):
        check_detector(Inside())


def test_clips_of_ones_own_bring_what_sample_clips_lack() -> None:
    photo = sample_clips()["photo"]
    mine = photo.with_labels({"instance": np.zeros(photo.image.shape[:3], np.uint16)})
    check_detector(Demanding(), clips={"mine": mine})


# --- the sample clips -------------------------------------------------------------------------------------------


def test_every_need_is_met_and_left_unmet_by_some_sample() -> None:
    gives = [provided(clip) for clip in sample_clips().values()]
    for need in (CONSECUTIVE, STEREO, SENSOR_DEPTH, INTRINSICS, BASELINE, SOUND):
        assert any(need in given for given in gives) and not all(need in given for given in gives)


def test_samples_are_the_same_every_time_and_share_nothing() -> None:
    for one, other in zip(sample_clips().values(), sample_clips().values(), strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert not np.shares_memory(one.image, other.image)


@pytest.mark.slow
def test_every_built_in_detector_trusts_something_on_some_sample() -> None:
    """So that what is checked of them is not checked of nothing."""
    for cls in detectors().values():
        detector = cls()
        ready = [clip for clip in (ready_for(detector, sample) for sample in ordinary()) if clip is not None]
        for name in (name for name in detector.makes if name.endswith("_confidence")):
            assert any(detector(clip)[name].any() for clip in ready), (detector.name, name)


def test_the_parts_of_a_filmed_clip_agree() -> None:
    """Where depth, poses and baseline say that a point is seen next, and by the right camera, it is seen."""
    clip = filmed(3, 48, 64)
    assert clip.sensor_depth is not None and clip.camera_pose is not None
    assert clip.right is not None and clip.baseline is not None
    rows, columns = slice(34, 48), slice(28, 64)  # of the floor, beside the box and what it hides
    points = backproject(clip.sensor_depth[0], clip.camera_K)
    for moved, image in ((clip.camera_pose[1, :3, 3], clip.image[1]), ([clip.baseline, 0, 0], clip.right[0])):
        seen_at = project(points - moved, clip.camera_K)[rows, columns] - 0.5
        x, y = np.rint(seen_at).astype(int).transpose(2, 0, 1)
        kept = x >= 0
        here = clip.image[0, rows, columns].astype(int)
        error = np.abs(image[y, np.maximum(x, 0)].astype(int) - here).mean(axis=-1)[kept]
        still = np.abs(image[rows, columns].astype(int) - here).mean(axis=-1)[kept]
        assert np.median(error) < 0.5 * np.median(still)


def ordinary() -> list[Clip]:
    samples = sample_clips()
    return [
        samples["video"],
        samples["stereo video with depth"],
        samples["a box crosses"],
        replace(samples["photo"], seed=1),
    ]
