"""The cluster files are ones that Ray's launcher and KubeRay take."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.exceptions import AuthenticationError

from freelabels.cli.main import main
from freelabels.ground.errors import UserError
from freelabels.pipeline.work.ray_executor import connect
from freelabels.pipeline.work.runner import Cluster
from tests.sources import write_photos

ROOT = Path(__file__).parents[3]

# Fields of KubeRay's ray.io/v1 API reference (docs/reference/api.md); an unknown one is refused by the API server.
RAY_JOB = {"entrypoint", "entrypointNumCpus", "entrypointNumGpus", "entrypointResources", "runtimeEnvYAML"}
RAY_JOB |= {"jobId", "submissionMode", "submitterConfig", "submitterPodTemplate", "backoffLimit", "suspend"}
RAY_JOB |= {"shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "activeDeadlineSeconds", "metadata"}
RAY_JOB |= {"rayClusterSpec", "clusterSelector", "managedBy", "deletionStrategy"}
RAY_CLUSTER = {
    "rayVersion",
    "headGroupSpec",
    "workerGroupSpecs",
    "enableInTreeAutoscaling",
    "autoscalerOptions",
}
RAY_CLUSTER |= {"suspend", "managedBy", "headServiceAnnotations", "gcsFaultToleranceOptions", "authOptions"}
HEAD_GROUP = {"template", "headService", "enableIngress", "rayStartParams", "serviceType"}
WORKER_GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
WORKER_GROUP |= {"suspend", "idleTimeoutSeconds", "numOfHosts", "scaleStrategy"}


def test_the_cluster_file_is_valid() -> None:
    config = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["provider"]["type"] == "local"
    assert any("make setup" in command for command in config["setup_commands"])


@pytest.fixture
def job() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "kuberay.yaml").read_text())


def test_the_kubernetes_job_has_the_fields_that_kuberay_knows(job: dict[str, Any]) -> None:
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job["metadata"]) & {"name", "generateName"}
    assert set(job["spec"]) <= RAY_JOB and {"entrypoint", "rayClusterSpec"} <= set(job["spec"])
    cluster = job["spec"]["rayClusterSpec"]
    assert set(cluster) <= RAY_CLUSTER
    assert set(cluster["headGroupSpec"]) <= HEAD_GROUP
    groups = cluster["workerGroupSpecs"]
    assert [group["groupName"] for group in groups] == ["cpu", "gpu"]
    for group in groups:
        assert set(group) <= WORKER_GROUP
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in [cluster["headGroupSpec"], *groups]:
        params = group["rayStartParams"]
        assert all(isinstance(value, str) for value in params.values())  # the API takes strings alone
        pod = group["template"]["spec"]
        [container] = pod["containers"]
        assert {"name", "image", "resources"} <= set(container)
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
    [gpu] = groups[1]["template"]["spec"]["containers"]
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_the_kubernetes_job_runs_this_version_and_a_command_that_exists(
    job: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == version("ray")
    program, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert program == "freelabels"
    with pytest.raises(SystemExit) as end:  # the command is understood; only its sources are not here
        main(arguments)
    assert end.value.code == 2 and "no photo or video found in /data/videos" in capsys.readouterr().err


# --- the token --------------------------------------------------------------------------------------------------


def test_every_line_that_starts_ray_asks_for_the_token_and_finds_it() -> None:
    config = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())
    lines = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    starting = [line for line in lines if "ray start" in line]
    assert len(starting) == 2 and all("RAY_AUTH_MODE=token " in line for line in starting)
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_the_kubernetes_cluster_has_a_token(job: dict[str, Any]) -> None:
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


@pytest.mark.parametrize(
    "error",
    [
        # What Ray 2.60 raises in a process without the token, with a wrong one, and with the mode alone.
        ConnectionError("Failed to connect to Ray cluster at 192.0.2.2:6379"),
        AuthenticationError("Token authentication is enabled but no authentication token was found"),
        RuntimeError("Unauthenticated: RPC error: InvalidAuthToken: Authentication token is missing"),
    ],
)
def test_who_is_not_let_in_is_told_of_the_token(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(**options: Any) -> None:
        raise error

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(UserError, match=r"^[^\n]*token[^\n]*RAY_AUTH_MODE=token and RAY_AUTH_TOKEN[^\n]*$"):
        connect(Cluster(address="auto"))


def test_a_process_works_on_one_cluster_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address was passed over in silence where Ray had been started before, as in a notebook."""
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        monkeypatch.setattr(ray, "is_initialized", lambda: True)
        context = SimpleNamespace(gcs_address=address)
        monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
        for same in (None, "auto", address):
            connect(Cluster(address=same))
        context.gcs_address = address.replace("127.0.0.1", "192.0.2.2")  # as its head calls itself
        connect(Cluster(address=address))
        context.gcs_address = "192.0.2.2:6379"
        with pytest.raises(
            UserError, match=rf"cluster at 192.0.2.2:6379 already, not on {address}; call ray"
        ):
            connect(Cluster(address=address))


def started(line: str, home: Path, port: int, *options: str) -> subprocess.Popen[str]:
    """A node begun by the cluster file's own line, in the foreground and under its own name for the program."""
    line = line.replace("~/freelabels/.venv/bin/ray", f"{sys.executable} -m ray.scripts.scripts")
    line = line.replace("$RAY_HEAD_IP", "127.0.0.1").replace("6379", str(port))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    node = subprocess.Popen(
        f"{line} --block --num-cpus=1 {' '.join(options)}", shell=True, text=True, start_new_session=True,
        env={**environment, "HOME": str(home)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert node.stdout is not None
    said = []
    for text in node.stdout:
        said.append(text)
        if "Ray runtime started" in text:
            threading.Thread(target=node.stdout.read, daemon=True).start()
            return node
    raise AssertionError("".join(said))


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def is_left(node: subprocess.Popen[str]) -> bool:
    """Whether any process of a node's group is there still."""
    node.poll()  # a dead one is there until somebody has asked
    try:
        os.killpg(node.pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def two_nodes(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A head and a worker by the file's own lines, which found a token file: its home, and the head's port."""
    config = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())
    home, port = tmp_path / "home", free_port()
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text("0123456789abcdef" * 2)
    nodes = []
    try:
        dashboard = f"--dashboard-port={free_port()}"
        nodes.append(started(config["head_start_ray_commands"][-1], home, port, dashboard))
        nodes.append(started(config["worker_start_ray_commands"][-1], home, port))
        yield home, port
    finally:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for node in nodes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(node.pid, sign)
            for _ in range(100):
                if any(map(is_left, nodes)):
                    time.sleep(0.05)


@pytest.mark.ray
@pytest.mark.timeout(290)
def test_two_nodes_by_the_files_own_lines_label_for_who_has_the_token(
    two_nodes: tuple[Path, int], tmp_path: Path
) -> None:
    home, port = two_nodes
    write_photos(tmp_path / "photos", 4)
    command = [sys.executable, "-m", "freelabels", "label", tmp_path / "photos", "--out", tmp_path / "out"]
    command += [
        "--labels",
        "regions",
        "--size",
        "32",
        "--shard-frames",
        "1",
        "--address",
        f"127.0.0.1:{port}",
    ]

    def label(**environment: str) -> subprocess.CompletedProcess[str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        own |= {"HOME": str(home), **environment}
        return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, timeout=250)

    without = label()
    assert without.returncode == 2
    assert "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" in without.stderr.splitlines()[-1]
    done = label(RAY_AUTH_MODE="token")
    assert done.returncode == 0, done.stderr
    assert "4 of 4 shards made" in done.stdout
