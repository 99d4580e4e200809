"""A detector that a number breaks is found out on a tiny clip, in a process of its own."""

import os
from dataclasses import dataclass

import pytest

from freelabels.generators.contract.clip import Clip
from freelabels.pipeline.quality.detector_trial import complaint
from tests.contract.broken_detectors import Darkness, Made


@dataclass(frozen=True)
class Crashing(Darkness):
    """Ends its process, as native code may on a bad number."""

    def __call__(self, clip: Clip) -> Made:
        os._exit(7)


@pytest.mark.slow
def test_a_process_that_ends_is_told_from_one_that_finishes() -> None:
    assert complaint(Crashing()) == "the process ended with status 7"
    assert complaint(Darkness()) == ""
