"""What became of the items, as counters among Ray's own metrics, for Prometheus and Ray's dashboard."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from freelabels.pipeline.work.attempt import Outcome
from freelabels.pipeline.work.tally import SECONDS

if TYPE_CHECKING:
    from ray.util.metrics import Counter

# name → what it counts, and what it is divided by. Ray adds `ray_` before and `_total` behind the name.
COUNTERS = {
    "freelabels_items": ("work items that came out well", ("stage",)),
    "freelabels_failures": ("work items given up, by kind of error", ("stage", "kind")),
    "freelabels_frames": ("frames committed", ("stage",)),
    "freelabels_bytes": ("bytes committed", ("stage",)),
    "freelabels_seconds": ("seconds of workers, by part of the work", ("stage", "part")),
}


@cache
def _counter(name: str) -> Counter:
    from ray.util.metrics import Counter

    description, tags = COUNTERS[name]
    return Counter(name, description=description, tag_keys=tags)


def publish(outcome: Outcome[Any, Any]) -> None:
    """Add an item to the counters; its stage is the first word of its name."""
    stage = {"stage": outcome.item.partition(" ")[0]}
    if outcome.result is None:
        _add("freelabels_failures", 1, stage | {"kind": outcome.kind})
    else:
        _add("freelabels_items", 1, stage)
    for name, amount in outcome.counts.items():
        if name.startswith(SECONDS):
            _add("freelabels_seconds", amount, stage | {"part": name.removeprefix(SECONDS)})
        else:
            _add(f"freelabels_{name}", amount, stage)


def _add(name: str, amount: float, tags: dict[str, str]) -> None:
    if amount > 0 and name in COUNTERS:  # Ray takes no other
        _counter(name).inc(amount, tags)
