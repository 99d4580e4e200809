"""A job can be watched: an event a line for machines, counters among Ray's metrics, failures with their node."""

import json
import os
import socket
import textwrap
from pathlib import Path
from typing import Any

import pytest

from freelabels.pipeline.work import metrics, tally
from freelabels.pipeline.work.attempt import Cluster, Outcome
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import run
from tests.preloaded import Programs

ROOT = Path(__file__).parents[3]


def work(item: str) -> str:
    with tally.part("decode"):
        tally.count("frames", 3)
    if item == "bad":
        raise ArithmeticError("no good")
    tally.count("bytes", 1000)
    return item.upper()


def outcomes(*items: str) -> list[Outcome[str, str]]:
    return list(run(work, items, lambda item: f"label {item}", Cluster(workers=0, attempts=2)))


def test_an_outcome_says_where_how_long_and_what_it_amounts_to() -> None:
    good, bad = outcomes("good", "bad")
    assert (good.result, good.item, good.node) == ("GOOD", "label good", socket.gethostname())
    assert good.counts.keys() == {"seconds in decode", "frames", "bytes"}
    assert (good.counts["frames"], good.counts["bytes"]) == (3, 1000)
    assert good.seconds >= good.counts["seconds in decode"] >= 0
    assert (bad.kind, bad.error, bad.node) == ("ArithmeticError", "ArithmeticError: no good", good.node)
    assert bad.counts["frames"] == 3  # of the last attempt alone


def test_every_outcome_is_a_line_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter("json")
    with reporter.stage("label", 2) as tick:
        for outcome in outcomes("good", "bad"):
            tick(3, failed=outcome.result is None, outcome=outcome)
        tick.notice([f"label {k}" for k in range(5)], [600.0] * 5, 8)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    done, failed, slow = (event for event in events if "event" in event)
    node = socket.gethostname()
    assert done.items() >= {"event": "done", "stage": "label", "item": "label good", "node": node}.items()
    assert done["frames"] == 3 and done["bytes"] == 1000 and {"seconds", "seconds in decode"} <= done.keys()
    assert failed.items() >= {"event": "failed", "item": "label bad", "kind": "ArithmeticError"}.items()
    assert failed["error"] == "ArithmeticError: no good" and failed["node"] == node
    assert slow["event"] == "slow" and slow["items"] == [f"label {k}" for k in range(5)]
    assert (slow["limit"], slow["cpus"]) == (600, 8)


def test_a_slow_item_is_one_sentence_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter().stage("label", 9) as tick:
        tick.notice([f"label {k}" for k in range(5)], [600.0] * 5, 8)
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "label 0, label 1, label 2 and 2 more: not back after 5 min, on 8 CPUs; the limit is 10 min" in said
    )


def test_what_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    added: dict[tuple[str, ...], float] = {}

    def add(name: str, amount: float, tags: dict[str, Any]) -> None:
        key = (name, *tags.values())
        added[key] = added.get(key, 0) + amount

    monkeypatch.setattr(metrics, "_add", add)
    for outcome in outcomes("good", "bad", "good"):
        metrics.publish(outcome)
    assert added["freelabels_items", "label"] == 2
    assert added["freelabels_failures", "label", "ArithmeticError"] == 1
    assert added["freelabels_bytes", "label"] == 2000
    assert added.keys() >= {("freelabels_seconds", "label", "decode")}
    assert {name for name, *_ in added} <= metrics.COUNTERS.keys()


# What Prometheus would read of a job on Ray.
JOB = """
    import sys, time, urllib.request
    sys.path.insert(0, sys.argv[1])
    from freelabels.pipeline.work import tally
    from freelabels.pipeline.work.runner import Cluster, run

    def work(item):
        tally.count("frames", 3)
        if item == "bad":
            raise ArithmeticError("no good")
        return item

    for outcome in run(work, ["a", "bad", "b"], lambda item: f"label {item}", Cluster(workers=1, attempts=1)):
        print(outcome.item, outcome.node, flush=True)
    import ray
    [node] = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    lines = []
    while not any("freelabels_frames" in line and line.endswith(" 9.0") for line in lines):
        time.sleep(0.2)
        try:
            text = urllib.request.urlopen(url, timeout=5).read().decode()
        except OSError:
            continue
        lines = [line for line in text.splitlines() if "freelabels_" in line and line[0] != "#"]
    print(*lines, sep="\\n")
"""


@pytest.mark.ray
@pytest.mark.timeout(200)
def test_counters_are_among_rays_metrics(tmp_path: Path, programs: Programs) -> None:
    script = tmp_path / "job.py"
    script.write_text(textwrap.dedent(JOB))
    often = {**os.environ, "RAY_metrics_report_interval_ms": "500"}  # not every ten seconds
    done = programs.run(script, ROOT, env=often, timeout=190)
    assert f"label a {socket.gethostname()}" in done.stdout, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("ray_freelabels_")]

    def value(name: str, *tags: str) -> float:
        [line] = [line for line in lines if name in line and all(tag in line for tag in tags)]
        return float(line.rpartition(" ")[2])

    assert value("freelabels_items", 'stage="label"') == 2, done.stdout
    assert value("freelabels_failures", 'kind="ArithmeticError"') == 1
    assert value("freelabels_frames", 'stage="label"') == 9
