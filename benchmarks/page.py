"""How quick is the live page over ten thousand to a million frames: first paint, filters, scrolling, memory.

    python -m benchmarks.page [--frames 10000] [--size 128]

Needs Chromium and playwright; without them it says so. Prints JSON. The code of the server and of the page is what
people get; one shard is written, and the index tells of as many like it as there are frames, each with figures
drawn at random, so that a million frames need no disc. The grid is scrolled from its top to its end in 240 steps,
so that every step replaces all tiles in view; `longest` is the longest time between two frames, `late`
the share of frames on screen that took longer than 50 ms: both tell of the machine's other load too. `CPU` is what
the page's thread computed, which other load hardly changes. A filter is timed from the change to the tiles of what
is left. Medians of five.

Cost: about 10 CPU seconds and those of the browser.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.tools.command import run
from freelabels.pipeline.quality.outliers import oddness
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.index import Index, Part, index_of
from freelabels.pipeline.shards.shard import MAX_ROWS, Shard
from freelabels.pipeline.shards.summary import encoded
from freelabels.pipeline.viewer.frame_reader import FrameReader
from freelabels.pipeline.viewer.inspect import index_to_look
from freelabels.pipeline.viewer.live import Job, Live
from freelabels.pipeline.viewer.report import gather
from freelabels.pipeline.viewer.serve import serving

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession, Page

CLIP = 16
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')"
SCROLL = """async () => {
  const gaps = [], end = document.documentElement.scrollHeight - innerHeight, steps = 240;
  let last = performance.now();
  for (let k = 0; k <= steps; k++) {
    scrollTo(0, (end * k) / steps);
    await new Promise((next) => requestAnimationFrame(next));
    const now = performance.now();
    gaps.push(now - last);
    last = now;
  }
  return gaps.slice(1);
}"""


def write_many_frames(path: Path, frames: int, size: int = 24) -> Path:
    """A dataset of noise in clips of 16 frames, with edges and their confidence; quick to make."""
    dataset = Dataset.create(path, {"size": [size, size]})
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (MAX_ROWS, size, size, 3)).astype(np.uint8)
    edges = rng.integers(0, 256, (MAX_ROWS, size, size)).astype(np.uint8)
    for first in range(0, frames, MAX_ROWS):
        rows = min(MAX_ROWS, frames - first)
        columns = {
            "image": image[:rows],
            "edges": edges[:rows],
            "edges_confidence": edges[:rows],
            "domain": np.zeros(rows, np.uint8),
        }
        clips = [
            {
                "rows": [start, min(start + CLIP, rows)],
                "kind": "video",
                "source": [f"clip {(first + start) // CLIP}"],
                "key": f"{first + start:08d}",
            }
            for start in range(0, rows, CLIP)
        ]
        made_by = {name: {"generator": "noise", "version": 1} for name in columns}
        commit_shard(dataset, f"video-{first:08d}", columns, clips, made_by)
    return path


class OneShard(Dataset):
    """A dataset whose every shard is the only one that was written."""

    def open(self, name: str) -> Shard:
        return super().open(self.shards()[0])

    def open_all(self, names: Sequence[str], broken: Any = None) -> Iterator[Shard]:
        whole = self.open("")
        return (dataclasses.replace(whole, name=name) for name in names)


def many_shards(dataset: Dataset, shards: int) -> Index:
    """The index of a dataset with one shard, told `shards` times."""
    [(_, one)] = index_to_look(dataset).summaries("clips", "figures", "counts", "sizes")
    many: dict[str, Any] = {
        name: np.tile(getattr(one, name), shards)
        for name in ("shards", "clips", "figures", "counts", "sizes")
    }
    for name in ("figures", "counts"):
        many[name]["shard"] = np.repeat(np.arange(shards), len(getattr(one, name)))
    many["clips"]["identity"] = np.arange(len(many["clips"]))
    names = encoded(f"video-{k * MAX_ROWS:08d}.0" for k in range(shards))
    stamps = np.zeros(shards, "S1")
    whole = dataclasses.replace(one, names=names, stamps=stamps, **many)
    return index_of(dataset, names, stamps, [Part(whole.head, whole)])


def made_up(path: Path, frames: int, size: int) -> Live:
    """What a server shows of that many frames, with figures of all of them."""
    dataset = OneShard(write_many_frames(path, MAX_ROWS, size))
    report = gather(path, many_shards(dataset, -(-frames // MAX_ROWS)))
    live = Live.of([str(path)], [report], [FrameReader(dataset)])
    [values] = live.figures
    values[:] = np.random.default_rng(0).random(values.shape, np.float32)
    live.odd[0] = oddness(values)
    live.jobs["figures", 0] = Job("done", {"broken": 0}, done=len(values), total=len(values))
    return live


def _watched(page: Page) -> CDPSession:
    """What tells how long the page's thread computes."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    return session


def _computed(session: CDPSession) -> float:
    """Milliseconds that a page's thread has computed since its process began."""
    told = {entry["name"]: entry["value"] for entry in session.send("Performance.getMetrics")["metrics"]}
    return float(told["TaskDuration"]) * 1e3


FILTERS = {
    "range": "view.ranges.set('edges confidence', [0.4, 0.6])",
    "two ranges": "view.ranges.set('brightness', [0.2, 0.5])",
    "source": "view.search = 'clip 1'",
    "kind and exclusion": "view.search = ''; view.kind = 'video'; view.ticked = 'no'",
    "sort by confidence": "view.kind = view.ticked = ''; view.ranges.clear(); view.sort = 'least'",
}
FILTER = """(change) => new Promise((done) => {
  const began = performance.now();
  (0, eval)(change);
  arrange();
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
})"""


def measure(frames: int, size: int, chromium: str) -> dict[str, float]:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        began = time.process_time()
        live = made_up(Path(folder) / "many", frames, size)
        opened = time.process_time() - began
        server = serving(live, 0)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=True)
        paints, readies, loads = [], [], []
        for _ in range(3):
            page = context.new_page()  # in a process of its own, so that what it computes counts from nothing
            session = _watched(page)
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            page.wait_for_selector("html[data-ready]")
            readies.append(page.evaluate("performance.now()"))
            page.wait_for_function(f"{FIRST_PAINT}.length")  # a page may be ready before its paint
            paints.append(page.evaluate(f"{FIRST_PAINT}[0].startTime"))
            loads.append(_computed(session))
            if len(loads) < 3:
                page.close()
        while not page.evaluate("figuresDone"):
            page.wait_for_timeout(100)
        cost = _computed(session)
        gaps = np.array(page.evaluate(SCROLL))
        cost = (_computed(session) - cost) / len(gaps)
        began = time.perf_counter()
        page.wait_for_selector(".tile img.base")
        shown = time.perf_counter() - began
        nodes = page.locator("#grid *").count()
        page.evaluate("allSources()")
        filters = {}
        for name, change in FILTERS.items():
            took = []
            for _ in range(5):
                before = _computed(session)
                took.append((page.evaluate(FILTER, change), _computed(session) - before))
            filters[f"{name}, ms to the next frame"], filters[f"{name}, ms of CPU"] = (
                round(float(np.median(some)), 1) for some in zip(*took, strict=True)
            )
        heap = page.evaluate("performance.memory.usedJSHeapSize")
        browser.close()
        server.shutdown()
        server.server_close()
    return {
        "frames": frames,
        "CPU seconds until the server is ready": round(opened, 2),
        "seconds to first paint": round(float(np.median(paints)) / 1e3, 2),
        "seconds until the page is complete": round(float(np.median(readies)) / 1e3, 2),
        "ms of CPU until the page is complete": round(float(np.median(loads)), 1),
        "scroll: ms of CPU a step": round(cost, 1),
        "scroll: median ms": round(float(np.median(gaps)), 1),
        "scroll: p95 ms": round(float(np.percentile(gaps, 95)), 1),
        "scroll: longest ms": round(float(gaps.max()), 1),
        "scroll: late": round(float((gaps > 50).mean()), 3),
        "seconds to pictures after a scroll": round(shown, 2),
        **filters,
        "elements in the grid": nodes,
        "MiB of objects in the browser": round(heap / (1 << 20), 1),
    }


def main(frames: int = 10_000, size: int = 128) -> None:
    """Measure and print.

    Args:
        frames: As many as the page shows, in shards of 64.
        size: Their side.
    """
    chromium = shutil.which("chromium")
    if chromium is None or find_spec("playwright") is None:
        print("left out: the page is measured in Chromium, driven by playwright, and one of them is absent")
        return
    print(json.dumps(measure(frames, size, chromium), indent=1))


if __name__ == "__main__":
    run(main, __doc__)
