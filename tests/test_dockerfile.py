"""The image has what the Makefile says is needed, is built from what the build needs, and is what KubeRay runs."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def makefile(variable: str) -> str:
    [value] = re.findall(rf"^{variable}\s*[:?]?=\s*(.+)$", (ROOT / "Makefile").read_text(), re.M)
    return str(value)


def test_the_system_libraries_and_the_python_are_those_of_the_makefile() -> None:
    libraries = {name for name in makefile("DEBIAN_PACKAGES").split() if not name.startswith("python3")}
    [installed] = re.findall(r"apt-get install -y --no-install-recommends (.+?) \\$", DOCKERFILE, re.M)
    assert libraries <= set(installed.split())
    [base] = re.findall(r"^FROM (\S+)$", DOCKERFILE, re.M)
    assert base == f"{makefile('PYTHON').replace('python', 'python:')}-slim-bookworm"


def test_nobody_is_root_and_the_command_is_ours() -> None:
    instructions = re.findall(r"^([A-Z]+) (.*)$", DOCKERFILE, re.M)
    assert [value for name, value in instructions if name == "USER"] == ["freelabels"]
    assert ("ENTRYPOINT", '["freelabels"]') in instructions
    assert "useradd --create-home --uid 1000 freelabels" in DOCKERFILE
    [extras] = re.findall(r'^ARG EXTRAS="(.*)"$', DOCKERFILE, re.M)
    assert set(extras.split()) <= set(PROJECT["optional-dependencies"])


def test_the_context_holds_what_the_build_needs() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert lines[1] == "*" and all((ROOT / name).exists() for name in kept)
    packages = {"freelabels", *(path.name for path in (ROOT / "freelabels").iterdir() if path.is_symlink())}
    copied = {name for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.M) for name in line.split()[:-1]}
    assert {*packages, *(copied - {"."}), PROJECT["readme"], "LICENSE", "NOTICE"} <= kept


def test_kuberay_runs_this_image_as_its_user() -> None:
    tag = f"freelabels:{PROJECT['version']}"
    assert f"docker build -t {tag} ." in DOCKERFILE
    cluster = yaml.safe_load((ROOT / "kuberay.yaml").read_text())["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert [container["image"] for container in pod["containers"]] == [tag]
        assert pod["securityContext"]["runAsUser"] == 1000
