"""A small chaos: three nodes, three kills, the same bytes in the end."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.benchmark
@pytest.mark.ray
@pytest.mark.kill
@pytest.mark.renders
@pytest.mark.timeout(290)
def test_three_kills_on_three_nodes_change_nothing() -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks.chaos",
        "--shards",
        "12",
        "--kills",
        "3",
        "--seconds",
        "0.3",
        "1.5",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"(\d+) kills survived, 12 shards the same, 12 read, 0 partial", done.stdout)
    assert found and int(found[1]) >= 1, done.stdout
