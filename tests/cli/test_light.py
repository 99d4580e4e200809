"""What a user waits for on every call imports none of the libraries that take long."""

import subprocess
import sys

import pytest

from freelabels.cli.main import COMMANDS

SLOW = (
    "torch",
    "timm",
    "ray",
    "cv2",
    "open3d",
    "pybullet",
    "numpy",
    "scipy",
    "skimage",
    "zarr",
    "PIL",
    "rich.progress",
)


def imported(program: str) -> set[str]:
    """Which of the slow libraries a Python program has imported when it ends."""
    ending = (
        f"import sys, atexit; atexit.register(lambda: print('imported', *(set(sys.modules) & set({SLOW!r}))))"
    )
    end = subprocess.run([sys.executable, "-c", f"{ending}\n{program}"], capture_output=True, text=True)
    assert end.returncode == 0, end.stderr
    return set(end.stdout.splitlines()[-1].split()[1:])


def test_what_is_imported_is_seen() -> None:
    assert "numpy" in imported("import freelabels; freelabels.Field")


def test_the_package_alone_imports_none() -> None:
    assert imported("import freelabels") == set()


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_none(arguments: list[str]) -> None:
    assert imported(f"from freelabels.cli.main import main; main({arguments!r})") == set()
