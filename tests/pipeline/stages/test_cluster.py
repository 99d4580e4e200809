"""The cluster files are ones that Ray's launcher and KubeRay take."""

import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from freelabels.cli.main import main

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
