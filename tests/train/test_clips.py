"""The trunk that sees clips: torchvision's own, built only where a task asks, exported as torchvision's."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torchvision.models import video

from benchmarks.tools.shapes import write_dataset
from freelabels.ground.errors import UserError
from freelabels.testing.task_samples import CONFIG, sample_batch
from freelabels.train.config import LoaderConfig, ModelConfig, TrainConfig
from freelabels.train.data.windows import SYNTHETIC
from freelabels.train.export import export
from freelabels.train.model.clips import KINDS, ClipBackbone
from freelabels.train.objective.inputs import prepare
from freelabels.train.objective.learner import Learner
from freelabels.train.run.state import begin
from freelabels.train.tasks.tasks import tasks

SMALL = ModelConfig("test_resnet", width=16, clip_share=1 / 8)


@pytest.mark.parametrize("name", list(KINDS))
def test_with_all_channels_it_is_torchvisions(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = ClipBackbone(name).net, getattr(video, name)()
    wanted = {key: value.shape for key, value in theirs.state_dict().items() if not key.startswith("fc.")}
    assert {key: value.shape for key, value in ours.state_dict().items()} == wanted


def test_its_stages_are_what_torchvisions_layers_give() -> None:
    torch.manual_seed(0)
    trunk = ClipBackbone("r3d_18", 1 / 8).eval()
    clip = torch.randint(256, (2, 4, 3, 32, 32), dtype=torch.uint8)
    stages = trunk(clip)
    assert [tuple(s.shape) for s in stages] == [
        (2, 8, 4, 16, 16),
        (2, 16, 2, 8, 8),
        (2, 32, 1, 4, 4),
        (2, 64, 1, 2, 2),
    ]
    x = ((clip.float() - trunk.mean) / trunk.std).transpose(1, 2)
    assert torch.equal(trunk.net(x), stages[-1].mean((2, 3, 4)))


def test_it_is_built_only_for_a_task_that_asks_and_sees_all_clips_in_one_call() -> None:
    assert Learner({"rotation": tasks()["rotation"]}, CONFIG).model.clips is None
    task = tasks()["rotation_3d"]
    learner = Learner({"a": task, "b": replace(task, frames=8)}, CONFIG)  # type: ignore[type-var]
    trunk, seen = learner.model.clips, []
    assert trunk is not None
    trunk.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    calls: list[int] = []
    learner.model.backbone.register_forward_pre_hook(lambda module, args: calls.append(1))
    inputs = prepare({"a": task}, sample_batch(task, samples=2))
    both = replace(inputs, asked={"a": inputs.asked["a"], "b": inputs.asked["a"]})
    told = learner.predict(both)
    assert seen == [4] and not calls  # and no frame is looked at
    assert told.answers["a"].shape == (2, 4)


def test_a_run_is_exported_as_torchvision_loads_it(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "clips", SYNTHETIC, 4, 32, frames=4, labels=())
    config = TrainConfig(
        steps=1,
        tasks=("rotation_3d",),
        set=("rotation_3d.frames=4",),
        precision="fp32",
        loader=LoaderConfig(size=32, batch=2),
        model=SMALL,
    )
    begin([], [str(data)], tmp_path / "run", config, False, torch.device("cpu")).save()
    weights = load_file(export(tmp_path / "run", tmp_path / "out", "clips"))
    with torch.device("meta"):
        assert weights.keys() >= video.r3d_18().state_dict().keys()
    assert not weights["fc.weight"].any()
    assert 'ClipBackbone("r3d_18", 0.125)' in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(UserError, match="did you mean 'clips'"):
        export(tmp_path / "run", tmp_path / "out", "clip")


def test_a_network_that_torchvision_has_not_is_a_sentence() -> None:
    with pytest.raises(UserError, match="did you mean 'r3d_18'"):
        ClipBackbone("r3d18")
    with pytest.raises(UserError, match="a share of the channels"):
        ClipBackbone("r3d_18", 0)
