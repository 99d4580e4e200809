"""What all tests share: those that render are skipped, and counted as such, where PyBullet has no wheel."""

from collections.abc import Generator
from importlib.util import find_spec

import pytest

from freelabels.ground.errors import UserError

WITHOUT = "it renders, and there is no PyBullet for this Python"
RENDERS = find_spec("pybullet") is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
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
