"""What all tests share: no Ray outlives a file of tests; those that render are skipped without PyBullet."""

import atexit
import gc
import hashlib
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from xdist.scheduler import LoadFileScheduling

from freelabels.generators.contract.detector import detectors
from freelabels.ground.errors import UserError
from freelabels.pipeline.work.ray_executor import SINGLE_THREADED
from tests.preloaded import Programs, preloaded

# Programs that tests start import the same modules by the hundred: what one has compiled is there for the others.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Of pytest's workers, and of all that they start: threads of several processes wait for each other on few cores.
os.environ.update(SINGLE_THREADED)
gc.disable()  # until all is loaded, none of which is garbage

PLENTY = 12 << 30  # bytes: what tests write lies there beside all that they load


def keep_assets_here() -> None:
    """Keep what renderers make of assets in the checkout, by their code: nothing at home decides a test."""
    root = Path(__file__).parents[1]
    code = b"".join(path.read_bytes() for path in sorted((root / "renderers").rglob("*.py")))
    kept = root / ".pytest_cache" / "assets" / hashlib.sha256(code).hexdigest()[:16]
    os.environ["FREELABELS_CACHE"] = str(kept)
    for older in {*kept.parent.glob("*")} - {kept}:
        shutil.rmtree(older, ignore_errors=True)


def work_in_memory() -> Path | None:
    """Have tests write in memory, where there is plenty: a disk takes long over each of their many syncs.

    Returns the folder where this process is the one that made it, and is to remove it.
    """
    memory = Path("/dev/shm")
    if "PYTEST_DEBUG_TEMPROOT" in os.environ or not memory.is_dir():
        return None
    if min(shutil.disk_usage(memory).free, psutil.virtual_memory().available) < PLENTY:
        return None
    folder = tempfile.mkdtemp(prefix="freelabels-tests-", dir=memory)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = folder  # of pytest's workers too
    return Path(folder)


keep_assets_here()
IN_MEMORY = work_in_memory()
RENDERERS = "tests/renderers/"
RENDERING = ("tests/pipeline/stages/test_calibration.py", "tests/pipeline/stages/test_render.py")
WITHOUT = "it renders, and there is no PyBullet for this Python"
RENDERS = find_spec("pybullet") is not None
detectors()  # registered now, so that none registers while a test has put another registry in its place


def pytest_collection_finish() -> None:
    """What is loaded by now stays: looking through it for garbage, again and again, took a third of some tests."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    """Workers of pytest's are forked, and end without taking apart all that is loaded, which takes ten seconds."""
    if is_worker(config):
        atexit.register(leave, os.getpid())
    elif set(config.option.tx) == {"popen"} and not config.option.collectonly:  # here, by -n
        fork_workers(config)


def fork_workers(config: pytest.Config) -> None:
    """Have the server that forks programs fork the workers too: each took nine seconds to load the libraries."""
    os.environ["PYTEST_XDIST_TESTRUNUID"] = config.option.testrunuid = uuid.uuid4().hex
    held = ExitStack()
    config.add_cleanup(held.close)
    shim = Path(held.enter_context(tempfile.TemporaryDirectory())) / "python"
    held.enter_context(preloaded()).shim(shim)
    config.option.tx = [f"popen//python={shim}"] * len(config.option.tx)


def leave(worker: int) -> None:
    """End the process at once, if it is the worker and not one that was forked from it."""
    if os.getpid() == worker:
        os._exit(0)


def pytest_unconfigure(config: pytest.Config) -> None:
    """What tests wrote in memory is let go; PYTEST_DEBUG_TEMPROOT=FOLDER keeps it for a look."""
    if is_worker(config):
        gc.freeze()  # pytest would look five times more through all that it ends with
    else:
        gc.unfreeze()  # at the end libraries look whether all of theirs is let go
    if IN_MEMORY is not None:
        shutil.rmtree(IN_MEMORY, ignore_errors=True)


def is_worker(config: pytest.Config) -> bool:
    """Whether it is one of the processes that run tests for another, which prints what came of them."""
    return hasattr(config, "workerinput")


@pytest.fixture(autouse=True, scope="module")
def no_ray_is_left() -> Iterator[None]:
    """What a file's tests have begun in this process would be what the next file's are given."""
    yield
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()
        os.environ.pop("RAY_AUTH_MODE", None)  # it set it, and programs' Ray, loaded without it, can't follow


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    """Starts Python programs that needn't load the large libraries."""
    with preloaded() as found:
        yield found


@cache
def starts_ray(file: str) -> bool:
    """Whether some test of a file has that marker."""
    return "pytest.mark.ray" in (Path(__file__).parents[1] / file).read_text()


class Together(LoadFileScheduling):
    """Files of tests go to workers one by one, but those that render to one, and those that start Ray to one.

    The one loads each mesh once; the other waits much, while two more compute, and has one Ray at a time.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        if file.startswith((RENDERERS, *RENDERING)):
            return RENDERERS
        return "ray" if starts_ray(file) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling:
    """In place of `--dist loadfile`."""
    return Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests start Ray or kill come first: they take longest, and none is left for the end alone."""
    long = {item.path for item in items if item.get_closest_marker("ray") or item.get_closest_marker("kill")}
    items.sort(key=lambda item: item.path not in long)
    if not RENDERS:
        for item in items:
            if item.get_closest_marker("renders"):
                item.add_marker(pytest.mark.skip(reason=WITHOUT))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test without the marker that ends in the sentence "rendering needs PyBullet" is skipped just so."""
    report = yield
    error = call.excinfo.value if call.excinfo is not None else None
    if not RENDERS and isinstance(error, UserError) and str(error).startswith("rendering needs PyBullet"):
        path, line, _ = item.location
        report.outcome = "skipped"
        report.longrepr = (str(path), (line or 0) + 1, f"Skipped: {WITHOUT}")
    return report
