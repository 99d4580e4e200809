"""Memory that a worker frees stays with it."""

import resource
import sys

import numpy as np
import pytest

from freelabels.pipeline.work.memory import keep_freed_memory


def pages_asked_for():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [np.ones(3 << 17) for _ in range(8)]  # 24 MiB in blocks of 3
    del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
def test_what_was_freed_is_used_again_without_asking_the_system():
    if not keep_freed_memory():
        pytest.skip("another C library")
    pages_asked_for()
    assert pages_asked_for() < 100  # of 6,144
