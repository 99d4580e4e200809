"""The `freelabels` command: finds the subcommand, and ends the process as its user expects."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from freelabels.cli.shell.terminal import BAD_INPUT, FAILED, INTERRUPTED, note, say
from freelabels.ground.errors import UserError
from freelabels.ground.spelling import nearest
from freelabels.ground.versions import __version__

# name → what it does. The function `NAME` of `freelabels.cli.commands.NAME` (or of another room, see ROOMS) is
# imported when it is asked for: some need libraries that take seconds to import.
COMMANDS = {
    "label": "Label photos and videos with hard-coded detectors into zarr shards.",
    "render": "Render randomised scenes with exact labels into zarr shards.",
    "demo": "See it at work on pictures that need no download: labels, renders, training, the page.",
    "sources": "Show what sources hold and how it was understood, before any work.",
    "inspect": "Show what a dataset holds: a table, a picture, a page in the browser.",
    "compare": "Compare two labellings of a field, frame by frame, with an exit status for CI.",
    "verify": "Read a dataset again and check every byte and every rule of the contract.",
    "prune": "Remove what dead writers left, or clips; show, put back or remove what verify --repair set aside.",
    "copy": "Copy a dataset, or some of its clips, to another folder, store or layout.",
    "merge": "Merge datasets of one domain into another.",
    "split": "Divide a dataset into train, val and test by source.",
    "card": "Write a dataset's card, for people and for machines.",
    "calibrate": "Fit what each detector's confidence means, on rendered clips and counts on footage.",
    "train": "Train a multitask model on label shards of both domains.",
    "detectors": "List the detectors that label can run, with their parameters.",
    "fields": "List the fields that a dataset may hold, and what makes them.",
    "tasks": "List the tasks that train can learn, and whether data can feed them.",
    "assign": "Cluster the clips of datasets by a run's features.",
    "probe": "Score a run's features on other tasks.",
    "bench": "Train recipes alike and score their features side by side.",
    "predict": "Label photos and videos by a run's network, with confidence.",
    "export": "Write a run's backbone for timm.",
    "convert": "Write a dataset as COCO, WebDataset, PNG, NPY, EXR, Parquet, for Ultralytics or Hugging Face.",
    "push": "Put a dataset or a run's backbone on the Hugging Face Hub.",
}
# name → a line that works as it stands, once what it names is there.
EXAMPLES = {
    "label": "freelabels label photos/ clip.mp4 --out data/real",
    "render": "freelabels render --out data/synthetic --clips 64",
    "demo": "freelabels demo",
    "sources": "freelabels sources photos/ clip.mp4",
    "inspect": "freelabels inspect data/real --serve",
    "compare": "freelabels compare data/real data/other --field edges",
    "verify": "freelabels verify data/real --repair",
    "prune": "freelabels prune data/real",
    "copy": "freelabels copy data/real --out data/train --only train",
    "merge": "freelabels merge data/real data/more --out data/all",
    "split": "freelabels split data/real --val .1 --test .1",
    "card": "freelabels card data/real --license CC-BY-4.0",
    "calibrate": "freelabels calibrate --out reliability",
    "train": "freelabels train data/real data/synthetic --out run",
    "detectors": "freelabels detectors edges",
    "fields": "freelabels fields disparity",
    "tasks": "freelabels tasks data/real data/synthetic",
    "assign": "freelabels assign run data/real",
    "probe": "freelabels probe run --data imagenette",
    "bench": "freelabels bench features data/real data/synthetic --data imagenette --out table",
    "predict": "freelabels predict run photos/ --out data/second",
    "export": "freelabels export run --out weights",
    "push": "freelabels push data/synthetic me/synthetic --license CC-BY-4.0",
    "convert": "freelabels convert data/synthetic --to coco --out synthetic-coco",
}
# Those that don't lie in the room `commands`.
ROOMS = {
    "lists": ("sources", "detectors", "fields", "tasks"),
    "demo": ("demo",),
    "sharing": ("card", "convert", "export", "push"),
    "curating": ("copy", "merge", "split", "prune"),
}
STANDARD_OUTPUT = 1  # file descriptor
ABOUT = (
    "Training labels that no human drew. `freelabels COMMAND --help` lists the options of a command, "
    "`freelabels --version` names the version."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one subcommand and exit with its status: 0 done, 1 something failed, 2 bad input, 130 interrupted."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        status = _run(sys.argv[1:] if arguments is None else arguments)
    except UserError as error:
        note(f"freelabels: {error}")
        status = BAD_INPUT
    except KeyboardInterrupt:
        note("freelabels: interrupted; what is committed stays, run the same command again to go on")
        status = INTERRUPTED
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        status = FAILED
    finally:
        signal.signal(signal.SIGTERM, before)
    if status == INTERRUPTED and arguments is None and "ray" in sys.modules:
        _end_now(status)
    sys.exit(status)


def command(name: str) -> Callable[..., int]:
    """The function behind a subcommand: options → exit status."""
    room = next((room for room, names in ROOMS.items() if name in names), "commands")
    function: Callable[..., int] = getattr(import_module(f"freelabels.cli.{room}.{name}"), name)
    return function


def asked(name: str, arguments: Sequence[str]) -> tuple[Callable[..., int], Sequence[str]]:
    """A subcommand as its command line asks for it, and what is left of that; `prepared` of its module tells."""
    known = command(name)
    prepared = getattr(sys.modules[known.__module__], "prepared", None)
    return prepared(arguments) if prepared else (known, arguments)


def _run(arguments: Sequence[str]) -> int:
    name, *rest = arguments or ("",)
    try:
        if name in COMMANDS:
            from freelabels.cli.shell.parsing import called

            return called(*asked(name, rest), f"freelabels {name}")
        if name in ("-h", "--help"):
            _help()
        if name != "--version":
            wrong = f"there is no command {name!r}: " if name else "name a command; "
            raise UserError(f"{wrong}{nearest(name, COMMANDS)}; see freelabels --help")
        say(f"freelabels {__version__}")
        return 0
    finally:
        sys.stdout.flush()  # here, because a closed pipe is an exception that nobody handles later


def _help() -> None:
    """Print all commands with what they do, as tyro lays it out, and end the process."""
    import tyro

    def described(sentence: str) -> Callable[[], None]:
        def stub() -> None: ...

        stub.__doc__ = sentence
        return stub

    stubs = {name: described(f"{sentence} `{EXAMPLES[name]}`") for name, sentence in COMMANDS.items()}
    tyro.extras.subcommand_cli_from_dict(stubs, prog="freelabels", description=ABOUT, args=["--help"])


def _interrupt(*_: Any) -> None:
    """A polite kill is treated as Ctrl-C."""
    raise KeyboardInterrupt


def _end_now(status: int) -> None:
    """End a program that was interrupted: Ray's threads crash at times while Python takes itself apart."""
    with suppress(KeyboardInterrupt):  # a second one ends it at once
        sys.modules["ray"].shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody reads it any more
            stream.flush()
    os._exit(status)


def _nobody_reads() -> bool:
    """Whether standard output is a pipe that its reader has closed, as `head` does; if so, it is let go."""
    ask = select.poll()
    ask.register(STANDARD_OUTPUT, 0)  # of an error one is told whatever one asks for
    closed = any(event & select.POLLERR for _, event in ask.poll(0))
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), STANDARD_OUTPUT)
    return closed
