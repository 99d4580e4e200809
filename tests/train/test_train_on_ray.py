"""Workers of Ray train as one process does."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.tools.shapes import write_dataset
from freelabels.cli.main import main
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.exclusions import exclusions_json
from freelabels.train.run import checkpoint
from freelabels.train.run.config_file import CONFIG
from freelabels.train.run.logs import METRICS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def local_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import ray

    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of the workers
    yield
    ray.shutdown()


@pytest.mark.ray
def test_a_worker_without_a_gpu_is_an_error_and_not_a_cpu() -> None:
    from freelabels.train.run.cluster import on_gpus

    assert [on_gpus("auto", 2, gpus) for gpus in (0, 2, 3)] == [False, True, True]
    assert not on_gpus("cpu", 2, 8) and on_gpus("cuda", 1, 1)
    for device, gpus in (("auto", 1), ("cuda", 1), ("cuda", 0)):
        with pytest.raises(UserError, match=f"the Ray cluster has {gpus} GPUs, and each worker needs one"):
            on_gpus(device, 2, gpus)


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
@pytest.mark.timeout(900)  # Ray Train starts ten processes, which takes minutes where others work too
def test_two_workers_of_ray_train_together_and_go_on_from_a_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = [str(write_dataset(tmp_path / str(d), d, 8, 48, labels=("edges", "normals"))) for d in (0, 1)]
    folder = tmp_path / "run"
    options = (
        *("--out", str(folder), "--tasks", "edges", "--device", "cpu", "--log-every", "1", "--evaluate", "4"),
        *("--loader.size", "32", "--loader.batch", "2"),
        *("--model.backbone", "test_resnet", "--model.width", "16"),
    )

    def run(*more: str) -> int:
        with pytest.raises(SystemExit) as end:
            main(["train", *data, *options, *more])
        assert isinstance(end.value.code, int)
        return end.value.code

    assert run("--steps", "2") == 0
    assert run("--steps", "2", "--workers", "2") == 2  # said before Ray is asked
    assert "holds a run already" in capsys.readouterr().err

    # As if two workers had been stopped in the middle of four steps.
    path, config = folder / checkpoint.CHECKPOINT, folder / CONFIG
    state = checkpoint.load(path)
    checkpoint.save(path, {**state, "random": 2 * state["random"]})
    (tmp_path / "list.json").write_text(exclusions_json(frozenset()))
    monkeypatch.chdir(tmp_path)  # where the workers aren't
    changed = config.read_text().replace("\nsteps = 2\n", "\nsteps = 4\n")
    config.write_text(changed.replace("exclude = []", f'exclude = ["{tmp_path / "list.json"}"]'))
    assert run("--steps", "4", "--resume", "--workers", "2", "--loader.exclude", "list.json") == 0
    assert "4 steps, run folder" in capsys.readouterr().out
    after = checkpoint.load(path)
    assert after["step"] == 4 and len(after["random"]) == 2
    lines = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    assert [line["step"] for line in lines if "losses" in line] == [1, 2, 3, 4]  # each once, of one rank
