"""What all tests share: those that render are skipped, and counted as such, where PyBullet has no wheel."""

from importlib.util import find_spec

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if find_spec("pybullet") is None:
        for item in items:
            if item.get_closest_marker("renders"):
                item.add_marker(
                    pytest.mark.skip(reason="it renders, and there is no PyBullet for this Python")
                )
