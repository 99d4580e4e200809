"""The cluster file is one that Ray's launcher takes, and work goes to a cluster that runs already."""

from pathlib import Path

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parent.parent


def test_the_cluster_file_is_valid() -> None:
    config = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["provider"]["type"] == "local"
    assert any("make setup" in command for command in config["setup_commands"])
