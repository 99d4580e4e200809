"""What strangers install: one package with all its files, which works wherever its user stands."""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from tests.sources import write_photos

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
pytestmark = [pytest.mark.install, pytest.mark.slow]


def run(*command: object, cwd: Path = ROOT) -> str:
    """Standard output of a command that must succeed, run as by somebody who has only what is on PATH."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def shipped() -> Iterator[str]:
    """Every file of the package as it lies in the checkout, links followed."""
    for folder, folders, names in os.walk(ROOT / "freelabels", followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (str((Path(folder) / name).relative_to(ROOT)) for name in names)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution and the wheel that was made from it."""
    out = tmp_path_factory.mktemp("dist")
    tree = tmp_path_factory.mktemp("tree") / "freelabels"  # building leaves things behind
    for name in run(
        "git", "ls-files", "--others", "--cached", "--exclude-standard", "--deduplicate"
    ).splitlines():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name, follow_symlinks=False)
    run(UV, "build", "--no-build-isolation", "--python", sys.executable, "--out-dir", out, tree)
    return out


def test_the_wheel_holds_the_package_with_all_its_files_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        info = f"freelabels-{version('freelabels')}.dist-info"
        assert {name.split("/")[0] for name in names} == {"freelabels", info}
        assert {name for name in names if not name.startswith(info)} == set(shipped())
        assert {f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE"} <= set(names)
        assert "freelabels/py.typed" in names and "freelabels/generators/contract/calibration.json" in names
        changed = [name for name in shipped() if archive.read(name) != (ROOT / name).read_bytes()]
    assert not changed


def test_the_source_distribution_holds_the_package_and_what_builds_it(built: Path) -> None:
    (sources,) = built.glob("*.tar.gz")
    with tarfile.open(sources) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert set(shipped()) <= names
    top = {name.split("/")[0] for name in names}
    assert {"freelabels", "pyproject.toml", "README.md", "LICENSE", "NOTICE"} <= top
    assert not {"tests", "benchmarks", "generators", "pipeline", "renderers", "train"} & top


WHERE = "import sysconfig; print(sysconfig.get_path('purelib'))"


def _lend_compiled(here: Path, there: Path) -> None:
    """Give modules of an environment what this one has compiled of the same files, which takes Python a minute.

    Python looks at the time and size of the source, so that what differs is compiled anew.
    """
    for folder, _, names in os.walk(here):
        target = there / Path(folder).relative_to(here)
        if folder.endswith("__pycache__") and target.parent.is_dir():
            target.mkdir(exist_ok=True)
            for name in names:
                shutil.copy2(Path(folder, name), target / name)


@pytest.fixture(scope="module")
def elsewhere(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The programs of a new environment with the plain install, and a folder of a user's own modules.

    The environment is on the disk, where uv links files that it has rather than copy gigabytes.
    """
    with tempfile.TemporaryDirectory() as folder:
        yield install(built, Path(folder) / "venv", tmp_path_factory.mktemp("home"))


def install(built: Path, environment: Path, home: Path) -> tuple[Path, Path]:
    (wheel,) = built.glob("*.whl")
    run(UV, "venv", "--python", sys.executable, environment)
    run(UV, "pip", "install", "--python", environment, "-c", ROOT / "constraints.txt", wheel, cwd=home)
    _lend_compiled(
        Path(np.__file__).parents[1], Path(run(environment / "bin" / "python", "-c", WHERE).strip())
    )
    for name in ("train.py", "pipeline.py", "cli.py", "generators/__init__.py", "tests/__init__.py"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text("raise SystemError('the user meant this module, not Freelabels')\n")
    write_photos(home / "photos", 4)
    return environment / "bin", home


@pytest.mark.ray
@pytest.mark.timeout(900)
def test_commands_and_workers_that_train_find_freelabels_among_a_users_own_modules(
    elsewhere: tuple[Path, Path],
) -> None:
    programs, home = elsewhere
    freelabels = programs / "freelabels"
    label = ("label", "photos", "--out", "real", "--labels", "edges", "--size", "64", "--workers", "0")
    assert "4 frames" in run(freelabels, *label, cwd=home)
    run(freelabels, "verify", "real", cwd=home)
    model = ("--model.backbone", "test_resnet", "--model.width", "16", "--device", "cpu")
    loader = ("--loader.size", "32", "--loader.batch", "2", "--loader.held-out", "0")
    options = ("--out", "run", "--tasks", "edges", "--steps", "2", "--workers", "2")
    assert "2 steps, run folder" in run(freelabels, "train", "real", *options, *model, *loader, cwd=home)


@pytest.mark.renders
@pytest.mark.timeout(600)
def test_it_renders_among_a_users_own_modules(elsewhere: tuple[Path, Path]) -> None:
    programs, home = elsewhere
    options = ("--out", "synthetic", "--clips", "2", "--frames", "2", "--size", "64", "--workers", "0")
    assert "4 frames" in run(programs / "freelabels", "render", *options, cwd=home)
    run(programs / "freelabels", "verify", "synthetic", cwd=home)


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_the_public_face_and_workers_that_label_work_among_a_users_own_modules(
    elsewhere: tuple[Path, Path],
) -> None:
    programs, home = elsewhere
    script = (
        "import freelabels; "
        "made = freelabels.label(['photos'], 'api', labels=['edges'], size=(64, 64)); "
        "assert made.complete, made; "
        "print(made.frames, 'frames in', len(freelabels.Dataset('api').shards()), 'shards')"
    )
    assert "4 frames in 1 shards" in run(programs / "python", "-c", script, cwd=home)
