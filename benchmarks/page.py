"""How quick is the live page over ten thousand frames: time to first paint, frames while scrolling, memory.

    python -m benchmarks.page [--frames 10000] [--size 128]

Needs Chromium and playwright; without them it says so. Prints JSON. The grid is scrolled from its top to its end
in 240 steps, so that every step replaces all tiles in view; `longest` is the longest time between two frames on
screen, `late` the share of frames on screen that took longer than 50 ms: both tell of the machine's other load
too, the page's own work less so.

Cost: about 10 CPU seconds and those of the browser.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tools.command import run
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.shard import MAX_ROWS
from freelabels.pipeline.viewer.serve import make_server

CLIP = 16
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


def _cost(session: Any) -> float:
    """Seconds that a page has spent on scripts, styles and layout since it is watched."""
    told = {entry["name"]: entry["value"] for entry in session.send("Performance.getMetrics")["metrics"]}
    return float(sum(told[name] for name in ("ScriptDuration", "LayoutDuration", "RecalcStyleDuration")))


def measure(frames: int, size: int, chromium: str) -> dict[str, float]:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = write_many_frames(Path(folder) / "many", frames, size)
        began = time.perf_counter()
        server = make_server([str(path)], 0)
        opened = time.perf_counter() - began
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.wait_for_selector("html[data-ready]")
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        ready = page.evaluate("performance.now()")
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        cost = _cost(session)
        gaps = np.array(page.evaluate(SCROLL))
        cost = (_cost(session) - cost) / len(gaps) * 1e3
        began = time.perf_counter()
        page.wait_for_selector(".tile img.base")
        shown = time.perf_counter() - began
        nodes = page.locator("#grid *").count()
        browser.close()
        server.shutdown()
        server.server_close()
    return {
        "frames": frames,
        "seconds to read all records": round(opened, 2),
        "seconds to first paint": round(paint / 1e3, 2),
        "seconds until the page is complete": round(ready / 1e3, 2),
        "scroll: the page's own work, ms a step": round(cost, 1),
        "scroll: median ms": round(float(np.median(gaps)), 1),
        "scroll: p95 ms": round(float(np.percentile(gaps, 95)), 1),
        "scroll: longest ms": round(float(gaps.max()), 1),
        "scroll: late": round(float((gaps > 50).mean()), 3),
        "seconds to pictures after a scroll": round(shown, 2),
        "elements in the grid": nodes,
    }


def main(frames: int = 10_000, size: int = 128) -> None:
    """Measure and print.

    Args:
        frames: Of the dataset that is made and looked at.
        size: Their side.
    """
    chromium = shutil.which("chromium")
    if chromium is None or find_spec("playwright") is None:
        print("left out: the page is measured in Chromium, driven by playwright, and one of them is absent")
        return
    print(json.dumps(measure(frames, size, chromium), indent=1))


if __name__ == "__main__":
    run(main, __doc__)
