"""The page of `freelabels inspect` in a real browser: what it shows and saves, and that it asks nobody else."""

import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.page import write_many_frames
from benchmarks.tools.shapes import write_dataset
from freelabels.cli.main import main
from freelabels.generators.contract import fields as contract
from freelabels.generators.contract.fields import Field, Kind
from freelabels.generators.contract.pictures import overlay, picture
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.commit import commit_shard
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.exclusions import (
    FILE,
    FrameIdentity,
    exclusions_of,
    read_exclusions,
    write_exclusions,
)
from freelabels.pipeline.shards.frame_tags import frame_tags_of
from freelabels.pipeline.shards.record import SCHEMAS
from freelabels.pipeline.viewer.frame_map import FrameFeatures
from freelabels.pipeline.viewer.frame_reader import FrameReader
from freelabels.pipeline.viewer.live import Live, NotThere
from freelabels.pipeline.viewer.page import write_html
from freelabels.pipeline.viewer.report import gather
from freelabels.pipeline.viewer.serve import make_server

# The first has no windows and takes half the processor time.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
HOSTILE = '<img src=x onerror="alert(1)"></script><script>alert(2)</script>.png'
without_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="the browser tests need Chromium: sudo apt-get install chromium"
)


@dataclass
class Watched:
    """A browser page, and what it asked for and complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, url: str) -> Any:
        self.page.goto(url)
        self.page.wait_for_selector("html[data-ready=yes]")
        return self.page

    def until(self, expression: str) -> None:
        """Wait until a JavaScript expression is true; Playwright's way needs eval, which the page forbids."""
        for _ in range(2400):  # a minute: machines may be slow
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(25)
        raise AssertionError(f"never true: {expression}")

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def tiles(self) -> list[str]:
        """Captions of the tiles, in the order they are seen."""
        script = """() => [...document.querySelectorAll('.tile')].sort((a, b) => a.id.slice(4) - b.id.slice(4))
            .map((tile) => tile.querySelector('.name').textContent)"""
        return list(self.page.evaluate(script))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:
    """A page; afterwards nothing may have been asked of another machine, and nothing complained of."""
    context = browser.new_context(viewport={"width": 1200, "height": 800}, accept_downloads=True)
    found = Watched(context.new_page())
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.on(
        "console",
        lambda said: found.complaints.append(said.text) if said.type in ("error", "warning") else None,
    )
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    yield found
    context.close()
    assert found.complaints == []
    away = [
        url
        for url in found.requests
        if not url.startswith(("http://127.0.0.1:", "file:///", "data:", "blob:"))
    ]
    assert away == []


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Real and rendered frames of the same made-up world; the confidence of one clip's edges is lowest."""
    root = tmp_path_factory.mktemp("data")
    real = write_dataset(
        root / "real", 0, 6, 48, labels=("edges", "motion", "disparity", "flow"), confidence=128
    )
    lower_confidence(Dataset(real), "video", 2)
    return str(real), str(write_dataset(root / "synthetic", 1, 4, 48))


def lower_confidence(dataset: Dataset, kind: str, clip: int) -> None:
    """Distrust the edges of one clip of the first shard."""
    shard = dataset.open(dataset.shards()[0])
    assert shard.clips[clip]["kind"] == kind
    trust = shard.read_rows("edges_confidence")
    trust[slice(*shard.clips[clip]["rows"])] = 10
    columns = {"edges": shard.read_rows("edges"), "edges_confidence": trust}
    made_by = {name: {"generator": "shapes", "version": 2} for name in columns}
    commit_shard(dataset, shard.id, columns, shard.clips, made_by, base=shard)


Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve datasets on a free port as long as the test lasts; gives the address."""
    servers = []

    def start(*paths: str, seen: FrameFeatures | None = None) -> str:
        server = make_server(paths, 0, seen)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def wait_for_figures(watched: Watched) -> None:
    watched.until("figuresDone")


# --- in a browser ------------------------------------------------------------------------------------------


@pytest.mark.browser
@without_chromium
def test_the_file_answers_every_question_alone(
    watched: Watched, data: tuple[str, str], tmp_path: Path
) -> None:
    file = write_html(data, tmp_path / "deep" / "report.html", frames=8, clips=0)
    assert file.stat().st_size < 4 << 20
    page = watched.open(file.as_uri())
    assert watched.requests == [file.as_uri()] or all(
        url.startswith(("data:", file.as_uri())) for url in watched.requests
    )
    assert "24 frames" in watched.text("#summary") and "6 clips" in watched.text("#summary")
    assert "match their checksums" in watched.text("#health") and "freelabels verify" in watched.text(
        "#health"
    )
    labels = watched.text("#labels")
    assert (
        "edges" in labels and "shapes 2" in labels and "do fields agree" in labels and "brightness" in labels
    )
    assert "a sample of 16 of 40 frames" in watched.text("#shown")
    page.locator("#grid").scroll_into_view_if_needed()
    watched.until("tiles.size === 16")
    watched.until("[...document.querySelectorAll('.tile img')].every((i) => i.complete && i.naturalWidth)")
    page.keyboard.press("g")
    page.keyboard.press("Enter")
    page.wait_for_selector("#frame[open] .about td")
    page.hover(".stage .box", position={"x": 50, "y": 60})
    watched.until("document.querySelector('tr[data-field=image] td').textContent.startsWith('rgb')")


@pytest.mark.browser
@without_chromium
def test_the_live_page_lays_labels_over_frames_and_sorts_them(
    watched: Watched, data: tuple[str, str], serve: Serve
) -> None:
    page = watched.open(serve(data[0]))
    wait_for_figures(watched)
    page.locator("#grid").scroll_into_view_if_needed()
    page.wait_for_selector(".tile img.base")
    chip = page.locator(".chip[data-field=edges]")
    assert chip.get_attribute("aria-pressed") == "true"  # one is on from the start, at the top too
    page.wait_for_selector(".tile img.layer[data-field=edges]")
    assert page.locator("#peek img.layer").count() == page.locator("#peek .peek").count() > 0
    assert "edges" in watched.text("#legend") and "no trust in it" in watched.text("#legend")
    page.keyboard.press(chip.locator("kbd").inner_text())
    page.wait_for_selector(".tile img.layer", state="detached")
    assert "edges" not in watched.text("#legend")
    chip.click()
    page.wait_for_selector(".tile img.layer[data-field=edges]")

    watched.until("!document.querySelector('.tile .name').textContent.startsWith('…')")
    in_order = watched.tiles()
    assert in_order[:5] == [f"shapes-0-0-0 · {k}" for k in range(4)] + ["shapes-0-0-1 · 0"]
    page.select_option("#sort", "least")
    page.select_option("#label", "edges")
    assert sorted(watched.tiles()[:4]) == [f"shapes-0-0-2 · {k}" for k in range(4)]
    page.select_option("#sort", "most")
    assert set(watched.tiles()[-4:]) == {f"shapes-0-0-2 · {k}" for k in range(4)}
    page.focus("#sort")  # chosen with keys, the choice keeps them; with a pointer, they are the grid's again
    page.keyboard.press("o")
    assert page.evaluate("document.activeElement.id") == "sort" and page.input_value("#sort") == "odd"
    page.locator("#sort").dispatch_event("pointerdown")
    page.select_option("#sort", "odd")
    assert page.evaluate("document.activeElement.id") == "grid"
    assert page.locator("#tile0 .score").inner_text().endswith("σ")
    page.fill("#search", "0-0-4")
    assert sorted(watched.tiles()) == [f"shapes-0-0-4 · {k}" for k in range(4)]


@pytest.mark.browser
@without_chromium
def test_a_frame_opens_with_real_values_and_its_neighbours(
    watched: Watched, data: tuple[str, str], serve: Serve
) -> None:
    page = watched.open(serve(data[0]))
    page.focus("#grid")
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("#frame[open] .about td")
    assert "frame 3 of 4 in its clip" in watched.text("#frame header")
    assert "shapes-0-0-0" in watched.text(".about") and "shapes 2" in watched.text(".about")
    watched.until("opened.values.size >= 9")
    page.hover(".stage .box", position={"x": 50, "y": 60})
    box = page.locator(".stage .box").bounding_box()
    row, column = (int(48 * at / box[side]) for at, side in ((60, "height"), (50, "width")))
    assert f"row {row}, column {column}" in watched.text(".readout")
    shard = Dataset(data[0]).open(Dataset(data[0]).shards()[0])
    flow, disparity = shard.read("flow", 2)[row, column], shard.read("disparity", 2)[row, column]
    shown = page.inner_text("tr[data-field=flow]").replace("−", "-")
    assert f"{flow[0]:.2f} {flow[1]:.2f} px" in shown and shown.endswith("0.50")
    assert float(page.inner_text("tr[data-field=disparity] td")) == pytest.approx(float(disparity), rel=1e-3)

    legends = {}
    for name in ("flow", "disparity"):
        page.click(f".panels [data-field={name}]")
        legends[name] = page.locator(".stage .legend").first.inner_text()
    assert "hue: direction" in legends["flow"] and "no label" in legends["flow"]
    assert legends["disparity"].split()[:2] == ["far", "near"]
    page.keyboard.press("ArrowRight")
    watched.until("document.querySelector('#frame header').textContent.includes('frame 4 of 4')")
    assert page.is_disabled("#after") and page.is_enabled("#before")
    page.keyboard.press("c")
    page.wait_for_selector(".panels canvas")
    page.keyboard.press("Escape")
    page.wait_for_selector("#frame", state="hidden")
    assert page.evaluate("document.activeElement.id") == "grid"


@pytest.mark.browser
@without_chromium
def test_ticked_frames_are_saved_beside_the_shards(watched: Watched, serve: Serve, tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "d", 0, 2, 32, labels=("edges",))
    address = serve(str(path))
    page = watched.open(address)
    page.focus("#grid")
    page.keyboard.press("x")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.wait_for_selector("#frame[open]")
    page.keyboard.press("x")
    page.keyboard.press("Escape")
    page.keyboard.press("X")  # takes back the whole clip
    assert "1 new" in watched.text("#save")
    page.keyboard.press("x")
    assert "2 new" in watched.text("#save")
    page.click("#save")
    watched.until("document.getElementById('status').textContent.startsWith('saved')")
    assert exclusions_of(Dataset(path)) == {FrameIdentity("0-0", 0), FrameIdentity("0-1", 3)}

    page = watched.open(address)  # the list is shown again, and can be taken back
    page.wait_for_selector("#tile0.excluded")
    page.locator("#tile0 .tick").click()
    page.keyboard.press("s")
    watched.until("document.getElementById('status').textContent.startsWith('saved')")
    assert exclusions_of(Dataset(path)) == {FrameIdentity("0-1", 3)}


@pytest.fixture
def five_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five shards of 16 frames, of which two are asked for their sources at a time."""
    monkeypatch.setattr("freelabels.pipeline.viewer.layout.SOURCES_AT_ONCE", 2)
    return write_dataset(tmp_path / "d", 0, 20, 32, labels=("edges",))


def test_a_page_knows_where_every_frame_is_and_asks_for_the_rest(five_shards: Path) -> None:
    """Sources by some shards at a time, figures as far as they are known."""
    write_exclusions(Dataset(five_shards), [FrameIdentity("0-9", 1)])
    live = Live.open([str(five_shards)])
    assert live.excluded == [{(2, 5)}] and live.shard_name(0, 4) == Dataset(five_shards).shards()[4]
    assert [len(live.sources(0, first)) for first in (0, 2, 4)] == [8, 8, 4]
    assert live.sources(0, 2)[0] == "shapes-0-0-8"
    with pytest.raises(NotThere, match="there is no shard 5"):
        live.sources(0, 5)
    shown = json.loads(live.page().decode().partition('id="report">')[2].partition("</script>")[0])
    [dataset] = shown["datasets"]
    assert dataset["shard_names"] == Dataset(five_shards).shards() and dataset["excluded"] == [[2, 5]]
    [layout] = live.layouts
    assert layout.frames == 80 and [layout.frame(*layout.place(k)) for k in range(80)] == list(range(80))
    assert layout.frame(4, 16) == layout.frame(9, 0) == -1
    assert live.known_figures(0, 0)[0]["rows"] == 0
    live.look()
    for first in (0, 70):
        told, data = live.known_figures(0, first)
        assert told == {"first": first, "rows": 80 - first}
        values = np.frombuffer(data, "<f4").reshape(len(live.figure_names), -1)
        assert np.isfinite(values[:2]).all() and (values[0] == live.figures[0][first:, 0]).all()
    assert len(live.known_odd(0)) == 80 * 6 and live.state()["odd"] == [80]
    live.close()


@pytest.mark.browser
@without_chromium
def test_ranges_tags_and_addresses_narrow_the_grid(watched: Watched, serve: Serve, five_shards: Path) -> None:
    """A range from a histogram, another beside it, a word on frames, a list of what is left, a link to it."""
    address = serve(str(five_shards))
    page = watched.open(address)
    wait_for_figures(watched)
    assert "80 of 80" in watched.text("#shown")
    page.select_option("#figure", "brightness")
    brightness = page.evaluate("Array.from(figures[figureNumber.get('brightness')])")
    bin_ = max(range(32), key=lambda k: sum(k / 32 <= value < (k + 1) / 32 for value in brightness))
    page.locator(f"#filters g[data-bin='{bin_}']").click()
    kept = [k for k, value in enumerate(brightness) if bin_ / 32 <= value <= (bin_ + 1) / 32]
    assert f"{len(kept)} of 80" in watched.text("#shown") and 0 < len(kept) < 80
    assert page.evaluate("Array.from(order)") == kept
    page.evaluate(
        "narrow('contrast', figure(order[0], 'contrast') - 1e-6, figure(order[0], 'contrast') + 1e-6)"
    )
    fewer = page.evaluate("Array.from(order)")
    assert fewer and set(fewer) < set(kept)  # both hold
    page.evaluate("tag(Array.from(order), 'odd light')")
    watched.until("document.querySelector('.tile[data-tags=\"odd light\"]') !== null")
    [first, *_] = fewer
    shard, row = divmod(first, 16)
    whose = FrameIdentity(f"0-{4 * shard + row // 4}", row % 4)
    assert whose in frame_tags_of(Dataset(five_shards))["odd light"]
    with page.expect_download() as download:
        page.click("#take")
    assert len(read_exclusions(download.value.path())) == len(fewer)
    page.focus("#grid")
    page.keyboard.press("Enter")
    page.wait_for_selector("#frame[open] .about td")
    watched.until("location.hash.includes('frame')")
    link = page.url
    page.goto("about:blank")
    again = watched.open(link)
    again.wait_for_selector("#frame[open] .about td")
    assert watched.text("#frame h2") == f"shapes-0-0-{4 * shard + row // 4}"
    assert again.evaluate("opened.i") == first and again.evaluate("[...view.ranges.keys()]") == [
        "brightness",
        "contrast",
    ]
    wait_for_figures(watched)
    assert again.evaluate("Array.from(order)") == fewer
    again.keyboard.press(" ")  # plays the clip
    watched.until("opened.shown !== undefined && opened.shown !== opened.i")
    assert again.get_attribute("#play", "aria-pressed") == "true"
    again.keyboard.press("Escape")
    again.evaluate("view.ranges.clear(); view.least = 0.99; relayer(); arrange()")
    watched.until("document.querySelector('.tile img.layer')?.src.includes('least=252')")


@pytest.mark.browser
@without_chromium
def test_the_file_gives_exclusions_as_a_download(
    watched: Watched, data: tuple[str, str], tmp_path: Path
) -> None:
    page = watched.open(write_html(data[:1], tmp_path / "report.html", frames=4, clips=0).as_uri())
    page.focus("#grid")
    page.keyboard.press("x")
    with page.expect_download() as download:
        page.keyboard.press("s")
    assert download.value.suggested_filename == FILE
    [entry] = json.loads(Path(download.value.path()).read_text())["exclude"]
    assert entry["clip"].startswith("0-") and isinstance(entry["frame"], int)


@pytest.mark.browser
@without_chromium
def test_ten_thousand_frames_make_a_few_hundred_elements(
    watched: Watched, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as quick:
        quick.setattr("os.fsync", lambda handle: None)  # nothing here has to survive a power cut
        write_many_frames(tmp_path / "many", 10_000)
    page = watched.open(serve(str(tmp_path / "many")))
    assert "10,000" in watched.text("#shown")
    page.wait_for_selector(".tile", state="attached")
    least = most = page.locator("#grid *").count()
    for share in (0.2, 0.5, 0.9, 1.0):
        page.evaluate(f"scrollTo(0, {share} * document.documentElement.scrollHeight)")
        watched.until(f"tiles.size > 0 && Math.min(...tiles.keys()) >= {int(10_000 * share) - 600}")
        most = max(most, page.locator("#grid *").count())
    assert least > 0 and most < 1_500
    watched.until("document.querySelector('.tile:last-child .name').textContent.startsWith('clip')")
    assert [
        name for name in watched.tiles() if name.startswith("clip 624 ·")
    ]  # the last of 625 clips of 16 frames
    page.wait_for_selector(".tile img.base")
    asked = [url for url in watched.requests if "/picture/" in url]
    assert len(asked) < 600  # rows that flew by were never asked for
    by_hand = """(() => {
      const odd = [NaN, -0, 0, -1.5, 1e-30, -1e30, 7];
      const column = computed((i) => odd[(i * i + 3 * i) % 11] ?? Math.sin(i));
      const kept = Uint32Array.from({ length: 9000 }, (_, k) => 9999 - k), last = (v) => (v !== v ? Infinity : v);
      const want = [...kept].sort((a, b) => last(column[a]) - last(column[b]) || 0); // NaN of the last two: equal
      return [want, [...sorted(kept, column)]].map((list) => list.join());
    })()"""
    want, found = page.evaluate(by_hand)
    assert found == want  # smallest first, what is not known last, equal ones as they were


@pytest.mark.browser
@without_chromium
def test_real_beside_synthetic_and_work_on_demand(
    watched: Watched, data: tuple[str, str], serve: Serve
) -> None:
    page = watched.open(serve(*data))
    page.click("#health button >> nth=1")
    watched.until("document.getElementById('health').textContent.includes('every byte of 1 shard is')")
    page.click(
        "#health button >> nth=0"
    )  # these flows are trusted in a clip's last frame, where there are none
    watched.until("document.getElementById('health').textContent.includes('trusts flow where there is none')")
    page.wait_for_selector("#labels .stat")
    assert "gap" in watched.text("#labels") and page.locator("#labels path.area.d1").count() > 4
    gap = float(
        page.locator("#labels tr", has=page.locator("th", has_text="edges"))
        .first.locator("td")
        .nth(6)
        .inner_text()
    )
    assert 0 <= gap <= 1
    colours = page.evaluate(
        "['d0', 'd1'].map((d) => getComputedStyle(document.querySelector(`.peek.${d}`)).borderColor)"
    )
    assert len(set(colours)) == 2
    assert [page.locator(f"#peek .d{d}").count() for d in (0, 1)] == [6, 6]  # however many each has
    page.select_option("#dataset", "1")
    assert "16 of 40" in watched.text("#shown")


@pytest.mark.browser
@without_chromium
def test_names_of_files_are_text_and_never_run(watched: Watched, serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "d"
    tiny(path, source=HOSTILE)
    (path / "rejected.jsonl").write_text(json.dumps({"uri": HOSTILE, "reason": "</script>"}) + "\n")
    (path / "failures.jsonl").write_text(HOSTILE + "\n")
    file = write_html([str(path)], tmp_path / "report.html", frames=2, clips=0)
    assert "<script>alert" not in file.read_text()
    for url in (file.as_uri(), serve(str(path))):
        watched.page.on("dialog", lambda dialog: watched.complaints.append(dialog.message))
        page = watched.open(url)
        page.wait_for_selector(".tile", state="attached")
        assert page.locator("#grid img[src=x], body > img").count() == 0
        watched.until(
            "document.querySelector('.tile .caption').title !== '…'"
        )  # sources are asked for when seen
        assert HOSTILE in str(page.locator(".tile .caption").first.get_attribute("title"))
        page.locator("#health summary").first.click()
        assert HOSTILE in watched.text("#health")


@pytest.mark.browser
@without_chromium
def test_odd_datasets_get_a_page_too(
    watched: Watched, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them has anything to complain of in the console."""
    Dataset.create(tmp_path / "empty", {"size": [8, 8]})
    watched.open(serve(str(tmp_path / "empty")))
    assert "holds no frames yet" in watched.text("#contents") and watched.text("#shown") == "0 of 0"

    tiny(tmp_path / "blind", image=False)
    page = watched.open(serve(str(tmp_path / "blind")))
    page.wait_for_selector(".tile .picture.blank", state="attached")
    page.focus("#grid")
    page.keyboard.press("Enter")
    page.wait_for_selector(".stage [data-field=edges] img")

    tiny(tmp_path / "mixed", size=(24, 32))
    tiny(tmp_path / "mixed", size=(48, 16), shard="b")
    page = watched.open(serve(str(tmp_path / "mixed")))
    assert "32 × 24 and 16 × 48 px" in watched.text("#summary")
    watched.until("document.querySelectorAll('.tile img.base').length === 4")

    with monkeypatch.context() as patched:
        glow = Field("glow", Kind.PROBABILITY, "uint8", ("y", "x"), (None, None), "light")
        patched.setattr(contract, "BUILT_IN", (*contract.BUILT_IN, glow))
        contract.fields.cache_clear()
        tiny(tmp_path / "newer", more={"glow": np.zeros((2, 24, 32), np.uint8)})
    contract.fields.cache_clear()
    page = watched.open(serve(str(tmp_path / "newer")))
    assert "unknown to this version" in page.inner_text("#labels tr.unknown")


# --- without one ---------------------------------------------------------------------------------------------


def tiny(
    path: Path,
    *,
    size: tuple[int, int] = (24, 32),
    source: str = "a.png",
    image: bool = True,
    shard: str = "a",
    more: dict[str, Any] | None = None,
) -> None:
    """A shard of two photos."""
    dataset = Dataset(path) if (path / "zarr.json").exists() else Dataset.create(path, {"size": list(size)})
    columns = {"edges": np.full((2, *size), 9, np.uint8), "domain": np.zeros(2, np.uint8), **(more or {})}
    if image:
        columns["image"] = np.full((2, *size, 3), 90, np.uint8)
    clips = [{"rows": [k, k + 1], "kind": "photo", "source": [source], "key": f"{shard}{k}"} for k in (0, 1)]
    made_by = {name: {"generator": "test", "version": 1} for name in columns}
    commit_shard(dataset, f"photo-{shard}", columns, clips, made_by)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["inspect", *map(str, arguments)])
    assert isinstance(end.value.code, int)
    return end.value.code


def test_a_newer_version_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(tmp_path / "mixed")
    with monkeypatch.context() as later:
        later.setitem(SCHEMAS, "folders", 99)
        later.setattr("freelabels.pipeline.shards.record.SCHEMA", 99)
        tiny(tmp_path / "mixed", shard="b")
        tiny(tmp_path / "newer")
    figures = gather(tmp_path / "mixed").figures
    [problem] = figures["corrupt"]
    assert "newer version (schema 99" in problem and figures["rows"] == 2
    assert run(tmp_path / "newer", "--html", tmp_path / "x.html") == 2
    assert "newer version" in capsys.readouterr().err


@pytest.mark.slow
def test_frames_that_cannot_be_read_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "d", 1, 8, 48)
    column = path / "shapes-0000.0" / "depth" / "c" / "0" / "0" / "0"
    data = bytearray(column.read_bytes())
    data[200:4_000:7] = bytes(len(data[200:4_000:7]))
    column.write_bytes(data)
    text = write_html([str(path)], tmp_path / "report.html", frames=32, clips=1).read_text()
    report = json.loads(text.partition('id="report">')[2].partition("</script>")[0])
    [dataset] = report["datasets"]
    assert "shapes-0000.0/depth" in dataset["survey"]["unreadable"][0]
    assert dataset["survey"]["agreements"]
    assert dataset["skipped"] > 0 and all(
        dataset["clips"]["shard"][frame["clip"]] == 1 or frame["row"] > 0 for frame in report["frames"]
    )


def test_a_port_in_use_and_places_that_are_none_cost_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny(tmp_path / "d")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(tmp_path / "d", "--serve", "--port", port) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line == (
        f"freelabels: port {port} can't be used (Address already in use); "
        "name another with --port, 0 takes any free one"
    )
    assert run(tmp_path / "d", "--serve", "--port", 70_000) == 2
    assert "--port must lie in 0..65535" in capsys.readouterr().err
    assert run(tmp_path, "--html", tmp_path / "x.html") == 2
    assert "is not a Freelabels dataset" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    for option, name in (("--html", "x.html"), ("--picture", "x.png")):
        assert run(tmp_path / "d", option, tmp_path / "file" / name) == 2
        said = capsys.readouterr().err
        assert f"can't write {tmp_path}/file/{name}: {tmp_path}/file is a file, no folder" in said


def ask(
    address: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[int, bytes]:
    """Status and body of an answer, without any client's manners."""
    from http.client import HTTPConnection

    connection = HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=60)
    connection.request("GET" if body is None else "POST", path, body, headers or {})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_only_pages_of_this_server_are_answered(data: tuple[str, str], serve: Serve) -> None:
    address = serve(data[0])
    assert ask(address, "/exclusions")[0] == 200
    assert ask(address, "/exclusions", {"Host": "evil.example"})[0] == 403
    json_of = {"Content-Type": "application/json"}
    assert ask(address, "/exclusions/0", json_of | {"Origin": "http://evil.example"}, b"{}")[0] == 403
    assert ask(address, "/exclusions/0", {"Content-Type": "text/plain"}, b"{}")[0] == 422
    for wrong in (b'{"exclude": [[0, 9999]]}', b'{"exclude": [[99, 0]]}', b'{"exclude": [7]}', b"[]", b"{"):
        assert ask(address, "/exclusions/0", json_of, wrong)[0] in (404, 422)
    assert json.loads(ask(address, "/exclusions")[1]) == [[]]
    assert not (Path(data[0]) / FILE).exists()


@pytest.mark.parametrize(
    "path",
    [
        "/picture/0/0/0/nothing",
        "/picture/0/9/0/image",
        "/picture/0/0/999/image",
        "/values/7/0/0/image",
        "/details/0/-1/0",
        "/../../etc/passwd",
        "/jobs",
        "/picture/0/0/0/domain",
        "/figures/x",
    ],
)
def test_what_is_not_there_is_said_not_raised(data: tuple[str, str], serve: Serve, path: str) -> None:
    status, body = ask(serve(data[0]), path)
    assert status in (404, 422) and json.loads(body)["error"]


def test_pictures_layers_and_values_are_those_of_the_shard(data: tuple[str, str]) -> None:
    dataset = Dataset(data[0])
    name = dataset.shards()[0]
    reader, shard = FrameReader(dataset), dataset.open(name)
    found = reader.values(name, 1, "flow", 24)
    np.testing.assert_array_equal(found.array, shard.read("flow", 1)[::2, ::2])
    assert found.step == 2
    whole = reader.details(name, 1)
    assert whole["identity"] == {"clip": "0-0", "frame": 1} and whole["source"] == "shapes-0-0-0"
    versions = {
        column: entry["made_by"]["version"] for entry in reader.made_by(name) for column in entry["columns"]
    }
    assert versions["edges"] == 2 and versions["motion"] == 1
    edges, trust = shard.read("edges", 1), shard.read("edges_confidence", 1)
    layer = overlay("edges", edges, trust)
    assert (layer[..., 3][edges == 0] == 0).all() and (
        layer[..., 3][edges == 255] == trust[edges == 255]
    ).all()
    assert picture("edges", edges).shape == (48, 48, 3)
    with pytest.raises(ValueError, match="no value per pixel"):
        reader.picture(name, 1, "camera_K", 64)
    reader.close()


@pytest.mark.slow
def test_clips_open_in_rerun(data: tuple[str, str], tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    from freelabels.pipeline.viewer.rerun_export import write_rerun

    file = write_rerun(data[1], tmp_path / "clips.rrd", clips=2)
    written = file.read_bytes()
    assert written[:4] == b"RRF2"
    for part in (b"/clip_0/world/camera/depth", b"/clip_1/world/camera/image", b"Pinhole", b"Transform3D"):
        assert part in written
    with pytest.raises(UserError, match="can't write"):
        write_rerun(data[1], tmp_path / "clips.rrd" / "x.rrd")


def test_what_rerun_has_no_cameras_for_is_said() -> None:
    rr = pytest.importorskip("rerun")
    from freelabels.pipeline.viewer.rerun_export import _log_camera

    class Recording:
        """What is logged, by the name of its kind."""

        def __init__(self) -> None:
            self.kinds: list[str] = []

        def log(self, _: str, what: object) -> None:
            self.kinds.append(type(what).__name__)

    for bent, said in ((0.0, []), (-0.1, ["AnyValues"])):
        columns: dict[str, np.ndarray] = {
            "image": np.zeros((1, 8, 8, 3), np.uint8),
            "camera_K": np.eye(3)[None],
            "camera_distortion": np.full((1, 5), bent),
        }
        recording = Recording()
        _log_camera(rr, recording, columns, 0, "camera")
        assert recording.kinds == ["Transform3D", "Pinhole", *said]


@pytest.mark.browser
@without_chromium
def test_the_page_fits_phones_and_tells_alike_clips_apart(
    watched: Watched, serve: Serve, tmp_path: Path
) -> None:
    """The strip is on the first screen; an opened frame takes the width there is; nothing scrolls sideways."""
    for shard, source in (("a", "one/1.png"), ("b", "two/1.png")):
        tiny(tmp_path / "d", shard=shard, source=source, more={"motion": np.zeros((2, 24, 32), np.uint8)})
    tiny(tmp_path / "d", shard="c", source="c.png")
    page = watched.open(serve(str(tmp_path / "d")))
    names = [f"{name} · 0" for one in ("one/1.png", "two/1.png", "c.png") for name in (one, f"{one} (2)")]
    watched.until("!document.querySelector('.tile .name').textContent.startsWith('…')")
    assert watched.tiles() == names
    page.click(".chip[data-field=motion]")
    watched.until("document.querySelectorAll('.picture[data-lacks]').length === 2")
    assert page.get_attribute("#tile4 .picture", "data-lacks") == "no motion"
    for width, share in ((390, 0.9), (900, 0.55), (1440, 0.4)):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") == width
        strip = page.locator("#peek").bounding_box()
        assert strip["y"] + strip["height"] < 900
        page.focus("#grid")
        page.keyboard.press("Enter")
        watched.until("document.querySelector('.stage img')?.naturalWidth > 0")
        assert page.locator(".stage .box").bounding_box()["width"] > share * width
        page.keyboard.press("Escape")


@pytest.mark.browser
@without_chromium
def test_a_line_around_points_of_the_map_and_more_like_one(
    watched: Watched, serve: Serve, five_shards: Path
) -> None:
    """What lies within the line is shown, and can be left out together; by a network, or by figures."""
    seen = FrameFeatures("net", lambda images: images.mean((1, 2)), five_shards / "features")
    page = watched.open(serve(str(five_shards), seen=seen))
    wait_for_figures(watched)
    page.click("#mapped summary")
    watched.until("map.known === 80")
    assert "by what the backbone of net sees" in watched.text("#map p")
    by_figures = "map.by = 'labels'; showMap(); Array.from(map.x)"
    by_network = page.evaluate("Array.from(map.x)")
    assert by_network != page.evaluate(by_figures) and "confidence and mean" in watched.text("#map p")
    page.select_option("#mapby", "run")
    assert page.evaluate("Array.from(map.x)") == by_network
    inside = page.evaluate("[...map.x].map((x, i) => [x, i]).filter(([x]) => x < 0.5).map(([, i]) => i)")
    canvas = page.locator("#map canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    half, right = box["x"] + 4 + 0.5 * (box["width"] - 8), [box["y"] + 1, box["y"] + box["height"] - 1]
    page.mouse.move(box["x"] + 1, right[0])
    page.mouse.down()
    for x, y in ((half, right[0]), (half, right[1]), (box["x"] + 1, right[1])):
        page.mouse.move(x, y)
    page.mouse.up()
    shown = page.evaluate("Array.from(order)")
    assert 0 < len(shown) < 80 and set(shown) <= set(inside) and len(inside) - len(shown) <= 4
    page.click("#map button")
    assert f"{len(shown)} new" in watched.text("#save")
    page.evaluate("chosen = null; changed(); openFrame(order[5])")
    page.wait_for_selector("#frame[open] .about td")
    page.click("#like")
    page.wait_for_selector("#frame", state="hidden")
    watched.until("view.sort === 'like'")
    like = page.evaluate("Array.from(order)")
    assert like[0] == 5 and set(like[:4]) == {4, 5, 6, 7}  # the others of its clip come next
    page.evaluate("excluded.clear()")
