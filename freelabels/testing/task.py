"""The contract of tasks as a test: what `freelabels.train.tasks.contract.task.Task` promises."""

from __future__ import annotations

import dataclasses
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from freelabels.testing.broken import ContractBroken
from freelabels.testing.task_samples import (
    CLIPS,
    NORMED,
    SAMPLES,
    SIZE,
    VERSIONS,
    learner,
    made_labels,
    renewable,
    renewed,
    sample_batch,
    sample_clips,
    stored,
)
from freelabels.train.data.loader import Batch
from freelabels.train.objective.inputs import prepare
from freelabels.train.objective.learner import Learner
from freelabels.train.run.step import backward
from freelabels.train.tasks.contract.draw import Draw
from freelabels.train.tasks.contract.online import Online
from freelabels.train.tasks.contract.task import FAMILIES, Asked, Task
from freelabels.train.tasks.tasks import lacking

RANKS = 2
FIRST = 1  # of the samples, in the smaller part of a batch that is split
FEW = 2  # samples for what is asked of any batch: none of them is too short
# Batches on all of which a gradient must differ to be another one: where a last bit rounds a pixel to another
# level or tips a ReLU, the slope of a slope jumps, on a rare batch and on one kind of processor.
BATCHES = 3
SECONDS = 300.0  # after which two ranks are taken to wait for each other


def check_task(task: Task, elsewhere: bool = True) -> None:
    """Check that a task keeps the contract, on a small made-up batch and a small network.

    - What it asks of a sample is a pure function of the sample and its seed: the same in another batch.
    - A batch that is split gives the same gradient (unless the task says that it `compares` samples).
    - Where nothing counts, the loss is zero and so is every gradient; a clip without its frames counts nowhere.
    - A network that is saved and loaded goes on bit for bit.
    - In bfloat16 the loss is that of float32, as far as eight bits go.
    - Two ranks give the gradient of one, with the samples of both where they are compared (`elsewhere`: in two
      processes that are started for it).
    - Labels that a task makes for itself are a pure function of what they are made of, a row a clip, finite;
      held-out clips have no part in those of the others.
    - Data without its fields or frames are refused in a sentence. Scores and pictures are there and finite.

    Raises ContractBroken with one sentence for the first rule that is broken.
    """
    for problem in _problems(task):
        raise ContractBroken(f"the task {getattr(task, 'name', type(task).__name__)} {problem}")
    if elsewhere:
        check_ranks([task])


def check_ranks(tasks: Sequence[Task]) -> None:
    """The part of `check_task` that takes two processes, for several tasks at once."""
    found: dict[str, str] = {}
    for seed in range(BATCHES):
        found = _apart(tasks, seed)
        tasks = [task for task in tasks if task.name in found]
        if not tasks:
            return
    name, problem = next(iter(found.items()))
    raise ContractBroken(f"the task {name} has another gradient on two ranks than on one: {problem}")


def _apart(tasks: Sequence[Task], seed: int) -> dict[str, str]:
    """Where the gradients of two ranks differ from one's on a batch, by the names of the tasks whose do."""
    with tempfile.TemporaryDirectory() as folder:
        request = Path(folder, "tasks")
        request.write_bytes(pickle.dumps((list(tasks), seed)))
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", f"from {__name__} import apart; apart({folder!r})"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        if done.returncode:
            raised = re.search(r"^[\w.]+Error\b.*", done.stderr, re.M)
            raise ContractBroken(f"two ranks end with {raised[0] if raised else done.returncode}")
        together = torch.load(Path(folder, "gradients"), weights_only=True)
    whole = {task.name: _at_once(pickle.dumps(task), seed) for task in tasks}
    found = {name: _other_gradient(together[name], gradients) for name, gradients in whole.items()}
    return {name: problem for name, problem in found.items() if problem}


def _problems(task: Task) -> Iterator[str]:
    """What is wrong with a task, most basic first; whoever asks stops at the first."""
    yield from _declaration(task)
    if isinstance(task, Online):
        yield from _labelling(task)
    yield from _asking(task)
    anew = renewable(task)
    yield from _nothing_counts(task, anew)
    yield from _splitting(task, anew)
    yield from _resuming(task)
    yield from _rounding(task, anew)
    yield from _scoring(task, anew)
    yield from _refusing(task)


def _declaration(task: Task) -> Iterator[str]:
    if not (dataclasses.is_dataclass(task) and task.__dataclass_params__.frozen):
        yield "is no frozen dataclass"
    if not task.name.isidentifier():
        yield "has no name that is one word"
    if task.family not in FAMILIES:
        yield f"is of the family {task.family!r}; there are {', '.join(FAMILIES)}"
    if not type(task).__doc__:
        yield "doesn't say what it is: its class has no docstring"
    if pickle.loads(pickle.dumps(task)) != task:
        yield "isn't the same after pickling"


def _labelling(task: Online) -> Iterator[str]:
    versions = made_labels(task)
    np.random.seed(7)  # noqa: NPY002
    torch.manual_seed(7)
    for one, again in zip(versions, made_labels.__wrapped__(task), strict=True):
        for name, array in {**one.clips, **one.whole}.items():
            other = {**again.clips, **again.whole}[name]
            if not np.array_equal(array, other):
                yield f"makes other labels ({name}) of the same clips the second time"
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                yield f"makes labels ({name}) that aren't finite"
    if [labels.version for labels in versions] != list(range(VERSIONS)):
        yield "doesn't count its versions from 0"
    if any(len(array) != CLIPS for labels in versions for array in labels.clips.values()):
        yield "doesn't make a row of labels for each clip"
    clips = sample_clips(task, learner(task, labelled=False), 5)
    changed = np.where(clips.learned[:, None], clips.features, 100 * clips.features[::-1])
    first, second = (task.assign(replace(clips, features=f), None, 0) for f in (clips.features, changed))
    for name, array in first.clips.items():
        if not np.array_equal(array[clips.learned], second.clips[name][clips.learned]):
            yield f"lets held-out clips have a part in the labels ({name}) of those that are trained on"


def _asking(task: Task) -> Iterator[str]:
    batch = sample_batch(task)
    before = {name: tensor.clone() for name, tensor in batch.items()}
    asked = _ask(task, batch)
    if any(not torch.equal(tensor, before[name]) for name, tensor in batch.items()):
        yield "writes into the batch that it is given"
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002  (the one that a task must not depend on)
    if not _equal(asked, _ask(task, batch)):
        yield "asks for something else the second time: draw with `draw`, not with global random numbers"
    if bool((asked.weight < 0).any()) or not float(asked.count()):
        yield "weighs nothing of an ordinary batch, or weighs below zero"
    if asked.images is not None and asked.images.ndim != 5:
        yield f"asks for images of shape {tuple(asked.images.shape)}, not (N, k, 3, h, w)"
    if asked.clips is not None and (asked.clips.ndim != 6 or not task.clips):
        yield f"asks for clips of shape {tuple(asked.clips.shape)}, not (N, k, T, 3, h, w), or doesn't say `clips`"
    if task.needs.reach is not None:
        weight = asked.weight.view(SAMPLES, -1)
        if not bool((weight[:-1] > 0).flatten(1).any(1).all()) or bool((weight[-1] > 0).any()):
            yield "must weigh a clip that has its frames, and not one that is too short: see `everyone`"
    if not task.compares:
        order = torch.tensor([SAMPLES - 2, 0, SAMPLES - 1])
        few = _ask(task, {name: tensor[order] for name, tensor in batch.items()})
        rows = len(asked.weight) // SAMPLES
        index = (order[:, None] * rows + torch.arange(rows)).flatten()
        if not _equal(few, _rows(asked, index, SAMPLES * rows, order)):
            yield "asks for other views of a sample in another batch, and doesn't say that it `compares` samples"


def _splitting(task: Task, anew: Callable[[], Learner]) -> Iterator[str]:
    problem = "" if task.compares else _split(task, anew(), 0)
    if problem and all(_split(task, anew(), seed) for seed in range(1, BATCHES)):
        yield f"has another gradient when a batch is split: {problem}"


def _split(task: Task, made: Learner, seed: int) -> str:
    """Where the gradient of a batch in two halves differs from the whole one's; "" if nowhere."""
    batch = sample_batch(task, seed)
    parts = [{n: t[:FIRST] for n, t in batch.items()}, {n: t[FIRST:] for n, t in batch.items()}]
    return _other_gradient(_gradients(task, parts, made), _at_once(pickle.dumps(task), seed))


def _nothing_counts(task: Task, anew: Callable[[], Learner]) -> Iterator[str]:
    made = anew()
    inputs = prepare({task.name: task}, _few(task))
    asked = {n: replace(a, weight=torch.zeros_like(a.weight)) for n, a in inputs.asked.items()}
    empty = replace(inputs, asked=asked)
    losses, _ = backward(made, made, [empty])
    if losses.tolist() != [0.0]:
        yield f"has a loss of {float(losses[0])} where nothing counts"
    for name, parameter in made.named_parameters():
        if parameter.grad is not None and bool((parameter.grad != 0).any()):  # NaN is not 0 either
            yield f"has a gradient where nothing counts (at {name})"
            return


def _resuming(task: Task) -> Iterator[str]:
    made, again = learner(task, NORMED), learner(task, NORMED, seed=1)
    optimizer = _optimizer(made)
    saved = stored(_stepped(made, task, optimizer, 0))
    whole = _stepped(made, task, optimizer, 1)
    optimizer = _optimizer(again)
    again.load_state_dict(saved["learner"])
    optimizer.load_state_dict(saved["optimizer"])
    if not _equal(whole, _stepped(again, task, optimizer, 1)):
        yield "doesn't go on bit for bit after it was saved and loaded: is all of its state in buffers?"


def _rounding(task: Task, anew: Callable[[], Learner]) -> Iterator[str]:
    losses = []
    inputs = prepare({task.name: task}, _few(task))
    for precision in (None, torch.bfloat16):
        made = anew()
        made.precision = precision
        made(inputs, inputs.counts())
        losses.append(float(made.losses[0]))
    if not math.isclose(*losses, rel_tol=0.1, abs_tol=0.02):
        yield f"has a loss of {losses[0]:.4g} in float32 and of {losses[1]:.4g} in bfloat16"


def _scoring(task: Task, anew: Callable[[], Learner]) -> Iterator[str]:
    made = anew().eval()
    inputs = prepare({task.name: task}, sample_batch(task))
    with torch.no_grad():
        told = made.predict(inputs)
    answer, asked = told.answers[task.name], told.asked[task.name]
    columns = task.keep(answer, asked)
    if len({len(column) for column in columns}) != 1:
        yield "keeps columns of different lengths for its summary"
    score, trivial, _ = task.summary(columns)
    if not (math.isfinite(score) and math.isfinite(trivial)):
        yield f"scores {score} where the trivial answer scores {trivial}"
    score, trivial, _ = task.summary([column[:0] for column in columns])
    if not (math.isnan(score) and math.isnan(trivial)):
        yield f"scores {score} where nothing was kept, not NaN"
    shown = task.picture(answer, asked, SIZE)
    if shown is not None and (shown.dtype != np.uint8 or shown.shape[0] != SAMPLES or shown.shape[1] != SIZE):
        yield f"draws {shown.dtype} {shown.shape}, not uint8 (N, side, width, 3)"
    if shown is None and not asked.shared:
        yield "asks for images and draws no picture of them"


def _refusing(task: Task) -> Iterator[str]:
    for needed in task.needs.fields[:1]:
        if needed not in lacking(task, lambda name: False, {}, task.needs.shared):
            yield f"doesn't say that it lacks the field {needed}"
    if task.needs.shared > 1 and "--loader.frames" not in lacking(task, lambda name: True, {}, 1):
        yield "doesn't say that it needs longer windows"
    if task.needs.frames > 1 and "longest clip" not in lacking(task, lambda name: True, {}, 1, 1):
        yield "doesn't say that it needs longer clips"


# --- what the rules are checked with ---------------------------------------------------------------------------


def _ask(task: Task, batch: Batch) -> Asked:
    return task.ask(batch, Draw(batch["seed"], task.name))


def _few(task: Task, seed: int = 0) -> Batch:
    return {name: tensor[:FEW] for name, tensor in sample_batch(task, seed).items()}


def _gradients(
    task: Task, parts: Sequence[Batch], made: Learner, wrap: Callable[[Learner], Any] = lambda x: x
) -> Any:
    backward(made, wrap(made), [prepare({task.name: task}, part) for part in parts])
    return {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}


@cache
def _at_once(task: bytes, seed: int) -> Any:
    """The gradients of a pickled task on a whole batch."""
    made: Task = pickle.loads(task)
    return _gradients(made, [sample_batch(made, seed)], learner(made))


def _other_gradient(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> str:
    """Where two gradients differ, as a clause; "" if nowhere."""
    largest = max((float(gradient.abs().max()) for gradient in wanted.values()), default=0.0)
    if not largest:
        return "there is none"
    for name, gradient in wanted.items():
        if name not in found or float((found[name] - gradient).abs().max()) > 1e-3 * largest:
            return f"at {name}"
    return ""


def _optimizer(made: Learner) -> torch.optim.Optimizer:
    return torch.optim.AdamW(made.parameters(), lr=1e-3, fused=True)


def _stepped(made: Learner, task: Task, optimizer: torch.optim.Optimizer, number: int) -> Any:
    """The state of a learner and its optimiser after one more step, of this number."""
    renewed(made, task, optimizer, number)
    backward(made, made, [prepare({task.name: task}, _few(task, number))])
    optimizer.step()
    optimizer.zero_grad()
    return {"learner": made.state_dict(), "optimizer": optimizer.state_dict()}


def _equal(a: Any, b: Any) -> bool:
    """Whether nested values are the same, tensors bit for bit."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    if dataclasses.is_dataclass(a):
        return all(_equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    return bool(a == b)


def _rows(asked: Any, index: Tensor, length: int, samples: Tensor) -> Any:
    """The rows of some samples, wherever a tensor has a row a sample (or one for each of its frames)."""
    if isinstance(asked, Tensor):
        return asked[index] if len(asked) == length else asked[samples] if len(asked) == SAMPLES else asked
    if isinstance(asked, dict):
        return {key: _rows(value, index, length, samples) for key, value in asked.items()}
    if isinstance(asked, list | tuple):
        return type(asked)(_rows(value, index, length, samples) for value in asked)
    if dataclasses.is_dataclass(asked) and not isinstance(asked, type):
        changed = {
            f.name: _rows(getattr(asked, f.name), index, length, samples) for f in dataclasses.fields(asked)
        }
        return replace(asked, **changed)
    return asked


def apart(folder: str) -> None:
    """Fork the ranks from a process that has loaded the libraries, and end with them; if one fails, so do all."""
    torch.set_num_threads(1)
    tasks, seed = pickle.loads(Path(folder, "tasks").read_bytes())
    made = [(task, sample_batch(task, seed), learner(task)) for task in tasks]  # once, not by each rank
    left = set()
    for rank in range(RANKS):
        if child := os.fork():
            left.add(child)
            continue
        try:
            _work(folder, rank, made)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    failed = False
    while left:
        child, status = os.wait()
        left.discard(child)
        if status and not failed:
            failed = True
            for other in left:  # they would wait for it
                os.kill(other, signal.SIGKILL)
    sys.exit(failed)


def _work(folder: str, rank: int, made: Sequence[tuple[Task, Batch, Learner]]) -> None:
    """What each of the ranks does: uneven shares of one batch."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/ranks", rank=rank, world_size=RANKS)
    mine = slice(FIRST) if rank == 0 else slice(FIRST, None)
    found = {}
    for task, whole, one in made:
        batch = {name: tensor[mine] for name, tensor in whole.items()}
        found[task.name] = _gradients(
            task, [batch], one, lambda one: DistributedDataParallel(one, find_unused_parameters=True)
        )
    if rank == 0:
        torch.save(found, Path(folder, "gradients"))
    dist.destroy_process_group()
