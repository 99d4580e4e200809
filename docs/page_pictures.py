"""Takes docs/page*.png: the page of what `make demo` made, served, in headless Chromium.

python docs/page_pictures.py [DEMO] [--all FOLDER]; needs Chromium, and DEMO (demo/) with real/, synthetic/ and
run/. --all takes every view at every width, light and dark, into a folder to be looked at.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import threading
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from freelabels.pipeline.viewer.serve import make_server
from freelabels.train.frame_features import frame_features

DOCS = Path(__file__).parent
WIDTHS = {1440: 900, 900: 1100, 390: 844}  # heights of the windows


def top(page: Any) -> None:
    """What a page begins with."""
    page.evaluate("scrollTo(0, 0)")


def grid(page: Any) -> None:
    """The tools, and frames with two labels on."""
    for name in ("motion", "normals"):
        if page.get_attribute(f".chip[data-field={name}]", "aria-pressed") == "false":
            page.click(f".chip[data-field={name}]")
    page.evaluate("document.getElementById('frames').scrollIntoView()")
    settle(page)


def truth(page: Any) -> None:
    """Detectors against exact truth."""
    page.evaluate("document.getElementById('truth').scrollIntoView()")


def labels(page: Any) -> None:
    """Coverage and confidence of every field."""
    page.evaluate("document.getElementById('labels').scrollIntoView()")


def mapped(page: Any) -> None:
    """All frames by what the run's backbone sees in them."""
    page.evaluate("document.getElementById('mapped').open = true")
    page.wait_for_selector("#map canvas")
    page.evaluate("document.getElementById('frames').scrollIntoView()")
    settle(page)


def frame(page: Any) -> None:
    """A rendered frame with every field, and the values under the pointer."""
    page.evaluate("openFrame(Math.floor(0.375 * frames.count))")
    page.wait_for_selector("#frame[open] .about td")
    settle(page)
    box = page.locator(".stage .box").bounding_box()
    page.mouse.move(box["x"] + 0.45 * box["width"], box["y"] + 0.6 * box["height"])
    page.wait_for_timeout(300)


VIEWS: dict[str, Callable[[Any], None]] = {
    view.__name__: view for view in (top, labels, truth, grid, mapped, frame)
}
# What stands in docs: view, width and scheme of each picture.
SHOWN = {
    "page": ("grid", 1440, "light"),
    "page_frame": ("frame", 1440, "dark"),
    "page_map": ("mapped", 900, "light"),
}


def settle(page: Any) -> None:
    """Wait until all pictures are there."""
    page.wait_for_timeout(200)
    for _ in range(200):
        if page.evaluate("[...document.querySelectorAll('img')].every((img) => img.complete)"):
            return
        page.wait_for_timeout(50)


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("demo", nargs="?", default="demo", type=Path)
    parser.add_argument("--all", type=Path)
    options = parser.parse_args()
    paths = [str(options.demo / name) for name in ("real", "synthetic")]
    server = make_server(paths, 0, frame_features(str(options.demo / "run"), "cpu"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    chosen = dict(SHOWN)
    if options.all:
        for number in (0, 1):
            server.live.start("measure", number)
        options.all.mkdir(parents=True, exist_ok=True)
        combined = product(VIEWS, WIDTHS, ("light", "dark"))
        chosen = {f"{view}_{width}_{scheme}": (view, width, scheme) for view, width, scheme in combined}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (view, width, scheme) in chosen.items():
            window = {"width": width, "height": WIDTHS[width]}
            how: dict[str, Any] = {"viewport": window, "color_scheme": scheme, "reduced_motion": "reduce"}
            context = browser.new_context(**how)
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            page.wait_for_selector("html[data-ready=yes]")
            while page.evaluate("!jobs.map.every((job) => job.state === 'done' || job.state === 'failed')"):
                page.wait_for_timeout(500)
            while page.evaluate("jobs.measure.some((job) => job.state === 'running')"):
                page.wait_for_timeout(500)
            VIEWS[view](page)
            settle(page)
            wide = page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                sys.stdout.write(f"{name}: {wide} px wide in a window of {width}\n")
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            target = (options.all or DOCS) / f"{name}.png"
            picture.quantize(256, kmeans=1, dither=Image.Dither.NONE).save(target, optimize=True)
            sys.stdout.write(f"{target}: {target.stat().st_size >> 10} KiB\n")
            context.close()
        browser.close()
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    main()
