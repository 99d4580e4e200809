"""What a system or a Python lacks costs what needs it, and one sentence."""

import subprocess
import textwrap
from pathlib import Path

import pytest

from tests.preloaded import Programs

pytestmark = pytest.mark.slow

WITHOUT = """
    import importlib, pkgutil, sys

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {absent}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

    sys.meta_path.insert(0, Absent())
"""


def run_without(
    programs: Programs, absent: set[str], script: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run a script in a Python where some modules can't be imported."""
    text = textwrap.dedent(WITHOUT.format(absent=absent)) + textwrap.dedent(script)
    return programs.run("-c", text, *arguments, timeout=250)


def test_everything_imports_without_pybullet(programs: Programs) -> None:
    script = """
        import freelabels
        for module in pkgutil.walk_packages(freelabels.__path__, "freelabels."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        print([getattr(freelabels, name) for name in freelabels.__all__])
    """
    done = run_without(programs, {"pybullet", "pybullet_data"}, script)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command", ["render --out {}/new", "render --preview {}/new.png", "calibrate --out {}/new"]
)
def test_what_renders_says_what_to_do_without_pybullet(
    command: str, tmp_path: Path, programs: Programs
) -> None:
    script = "from freelabels.cli.main import main; main()"
    done = run_without(programs, {"pybullet", "pybullet_data"}, script, *command.format(tmp_path).split())
    assert done.returncode == 2
    assert done.stderr.startswith("freelabels: rendering needs PyBullet") and done.stderr.count("\n") == 1
    assert "use that Python" in done.stderr
    assert not any(tmp_path.iterdir())


def test_where_files_cant_be_read_by_position_it_says_so(tmp_path: Path, programs: Programs) -> None:
    script = "import os; del os.pread; from freelabels.cli.main import main; main()"
    done = run_without(programs, set(), script, "verify", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == "freelabels: Freelabels needs Linux or macOS: on Windows, run it in WSL\n"
