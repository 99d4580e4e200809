"""Takes docs/dashboard.png: Ray's dashboard while `freelabels label` runs, in headless Chromium.

    ray job submit --address http://127.0.0.1:8265 --no-wait -- \
        freelabels label /data/videos --out /data/labels --address auto
    python docs/dashboard_picture.py http://127.0.0.1:8265 "$(cat ~/.ray/auth_token)"

Waits until a shard is being labelled, then opens the newest job and its table of tasks.
"""

from __future__ import annotations

import shutil
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import TimeoutError, sync_playwright

FOLDED = ("Logs", "Task Timeline (beta)", "Cluster status and autoscaler")
SIDE, TOP = 64, 96  # pixels of the dashboard's own bars
SIZE = {"width": 1280, "height": 1920}
OPEN_MS = 30_000


def main(address: str, token: str) -> None:
    """Take the picture of the dashboard at an address, with the token that it asks for."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        page.goto(f"{address}/#/jobs")
        try:
            page.locator("[role=dialog] input").first.fill(token, timeout=OPEN_MS)
            page.get_by_role("button", name="Submit").click()
        except TimeoutError:
            pass  # a cluster without a token asks for none
        page.wait_for_timeout(5000)
        page.goto(address + "/" + (page.locator('a[href*="#/jobs/"]').first.get_attribute("href") or ""))
        page.wait_for_timeout(5000)
        for name in (*FOLDED, "Task Table"):
            page.get_by_text(name, exact=True).last.click()
        page.locator("tr", has_text="label ").filter(has_text="RUNNING").first.wait_for(timeout=10 * OPEN_MS)
        last = page.get_by_text("Actor Table", exact=True).last.bounding_box()
        shot = Image.open(BytesIO(page.screenshot())).convert("RGB")
        browser.close()
    box = (SIDE, TOP, SIZE["width"], int(last["y"]) if last else SIZE["height"])
    shot.crop(box).quantize(64, dither=Image.Dither.NONE).save(
        Path(__file__).with_name("dashboard.png"), optimize=True
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
