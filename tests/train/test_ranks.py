"""Which device a rank gets, and what is said where there is none for it."""

import pytest
import torch

from freelabels.ground.errors import UserError
from freelabels.train.model import ranks


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with two GPUs, as PyTorch and torchrun tell of it to the second of two processes."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    return monkeypatch


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_every_process_gets_a_gpu_of_its_own(machine: pytest.MonkeyPatch, name: str) -> None:
    assert ranks.device_of(name) == torch.device("cuda", 1)
    assert ranks.device_of("cpu") == torch.device("cpu")
    machine.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(UserError, match="3 processes on this machine, but 2 GPUs: start one a GPU"):
        ranks.device_of(name)


def test_without_a_gpu_auto_is_the_cpu_and_cuda_an_error(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(torch.cuda, "is_available", lambda: False)
    assert ranks.device_of("auto") == torch.device("cpu")
    with pytest.raises(UserError, match="--device cuda: PyTorch finds no GPU here"):
        ranks.device_of("cuda")


def test_alone_a_rank_is_the_first() -> None:
    with ranks.group("cpu") as device:
        assert device == torch.device("cpu") and ranks.world() == 1 and ranks.of_first("x") == "x"
