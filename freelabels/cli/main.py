"""The front door: the `freelabels` command. Each subcommand is one typed function of the floors below."""

from __future__ import annotations

import dataclasses
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from tyro.conf import Positional

from freelabels.cli.options import Where, compression_of, configured, size_of
from freelabels.cli.parsing import deferred, parsed
from freelabels.ground.errors import UserError

HERE = Where()
INTERRUPTED = 130  # exit status of a program that Ctrl-C ended


def label(
    sources: Positional[tuple[str, ...]],
    /,
    *,
    out: str,
    labels: tuple[str, ...] = (),
    size: str = "256",
    fps: float | None = 10.0,
    clip_length: int = 64,
    shard_frames: int = 64,
    camera: tuple[float, float, float, float] | None = None,
    fov: float | None = None,
    depth_unit: float | None = None,
    stream: int = 0,
    seed: int = 0,
    set: tuple[str, ...] = (),
    compression: str = "fast",
    strict: bool = False,
    where: Annotated[Where, tyro.conf.arg(name="")] = HERE,
    json: bool = False,
) -> int:
    """Label photos and videos with hard-coded detectors into zarr shards; run again to go on where it stopped.

    Args:
        sources: Photos, videos, folders of them, globs, .txt lists (a source a line), s3:// gs:// https:// URIs.
        out: Folder or address (s3://bucket/path) of the dataset; it is made, or completed.
        labels: Which labels to make, default all that a source can give.
        size: Side of the stored frames in pixels, or WIDTHxHEIGHT.
        fps: Frames a second taken from videos, by their time stamps; None takes every frame.
        clip_length: Most frames of a clip, 2 to 64.
        shard_frames: Most frames of a shard, 1 to 64; clips are no longer than that.
        camera: Intrinsics fx fy cx cy in pixels of the full-size image, for all sources.
        fov: Field of view across the longer side in degrees, for all sources; instead of --camera.
        depth_unit: Metres that one count of stored depth is (0.001: millimetres); default: as layouts tell.
        stream: Which of the videos in a file with several, counted from 0; covers don't count.
        seed: Seed of detectors that draw random numbers.
        set: Parameters of detectors, as NAME.PARAMETER=VALUE.
        compression: fast (LZ4) or small (zstd).
        strict: End with an error before any labelling if a source is refused.
        where: Where and how carefully it runs.
        json: Print progress and summary as JSON lines on standard output.
    """
    from freelabels.pipeline.sources.clip_specs import SourceOptions
    from freelabels.pipeline.stages.label import label as run_label

    if not 1 <= shard_frames <= 64:
        raise UserError(f"--shard-frames must lie in 1..64, not {shard_frames}")
    try:
        options = SourceOptions(fps, clip_length, camera, fov, stream, depth_unit)
        options = dataclasses.replace(options, clip_length=min(clip_length, max(shard_frames, 2)))
    except ValueError as error:
        raise UserError(str(error)) from error
    summary = run_label(
        sources,
        out,
        labels=[name for item in labels for name in item.split(",") if name] or None,
        size=size_of(size),
        options=options,
        shard_frames=shard_frames,
        seed=seed,
        detectors=configured(set),
        compression=compression_of(compression),
        strict=strict,
        cluster=where.cluster,
        reporter=_reporter(json),
    )
    _conclude(
        json,
        summary,
        f"{summary.made} of {summary.shards} shards made, {summary.frames} frames in {summary.dataset}"
        + (f"; {summary.failed} failed" if summary.failed else "")
        + (f"; {summary.refused} sources refused" if summary.refused else ""),
    )
    return 0 if summary.complete else 1


def render(
    *,
    out: str = "",
    clips: int = 16,
    frames: int = 16,
    size: str = "256",
    seed: int = 0,
    ranges: str | None = None,
    meshes: str | None = None,
    photos: str | None = None,
    split: Literal["all", "train", "test"] = "all",
    image: Literal["ray", "tiny", "egl"] = "ray",
    scene: str | None = None,
    preview: str | None = None,
    compression: str = "fast",
    where: Annotated[Where, tyro.conf.arg(name="")] = HERE,
    json: bool = False,
) -> int:
    """Render randomised scenes with exact labels into zarr shards; run again to go on where it stopped.

    Args:
        out: Folder or address (s3://bucket/path) of the dataset; it is made, or completed.
        clips: How many clips; clip numbers are part of the seed, so that more can be added later.
        frames: Frames of a clip, 1 to 64.
        size: Side of the frames in pixels, or WIDTHxHEIGHT.
        seed: Seed of everything random; 0 is a seed like any other.
        ranges: A TOML file that overrides what scenes are drawn from.
        meshes: A folder of your own meshes (obj, glb, ply, stl, urdf); subfolders name classes.
        photos: A folder of your own photos, for textures and backgrounds.
        split: Which share of the assets, so that test objects are never trained on.
        image: Who makes the pixels: our ray tracer, or PyBullet's TinyRenderer or EGL plug-in.
        scene: Render the scene in this file again (as inspect --scenes writes it), one clip.
        preview: Draw a dozen clips with all their labels into this PNG instead of making a dataset.
        compression: fast (LZ4) or small (zstd).
        where: Where and how carefully it runs.
        json: Print progress and summary as JSON lines on standard output.
    """
    from freelabels.pipeline.stages.render import RenderOptions, draw_preview, load_ranges, load_scene
    from freelabels.pipeline.stages.render import render as run_render

    options = RenderOptions(
        seed, frames, size_of(size, smallest=1), image, load_ranges(ranges), meshes, photos, split
    )
    if scene is not None:
        stored, beside = load_scene(scene)
        known: dict[str, Any] = {name: beside[name] for name in ("frames", "image") if name in beside}
        if "size" in beside:
            known["size"] = tuple(beside["size"])
        options = dataclasses.replace(options, scene=stored, **known)
        clips = 1
    if preview is not None:
        drawn = draw_preview(preview, options)
        Console(highlight=False).print(f"preview: {drawn}", markup=False, soft_wrap=True)
        return 0
    if not out:
        raise UserError("name the folder of the dataset with --out, or a picture with --preview")
    summary = run_render(
        out,
        clips,
        options,
        compression=compression_of(compression),
        cluster=where.cluster,
        reporter=_reporter(json),
    )
    failed = f"; {summary.failed} failed" if summary.failed else ""
    made = f"{summary.made} of {summary.shards} shards made, {summary.frames} frames in {summary.dataset}"
    _conclude(json, summary, made + failed)
    return 0 if summary.complete else 1


def inspect(
    dataset: Positional[str],
    /,
    *,
    json: bool = False,
    picture: str | None = None,
    frames: int = 10,
    fields: tuple[str, ...] = (),
    scenes: str | None = None,
    html: str | None = None,
    serve: bool = False,
    port: int = 8707,
    beside: str | None = None,
    page_frames: int = 24,
    measured_clips: int = 4,
    verify: bool = False,
    rerun: str | None = None,
) -> int:
    """Show what a dataset holds: sources, fields, coverage, confidence, provenance, failures.

    Args:
        dataset: Folder or address (s3://bucket/path) of a dataset.
        json: Print the figures as JSON.
        picture: Draw a contact sheet with every label beside its frame into this PNG.
        frames: How many frames the contact sheet shows.
        fields: Which labels the contact sheet shows, default all.
        scenes: Write the scene of every rendered clip into this folder, for render --scene.
        html: Write a page with figures and a sample of frames into this file; it needs nothing beyond itself.
        serve: Show the same page with every frame at http://127.0.0.1 until Ctrl-C.
        port: Port of --serve; 0 takes any free one.
        beside: A second dataset (renders beside real frames), for --html and --serve.
        page_frames: How many frames of a dataset --html shows.
        measured_clips: On how many rendered clips --html measures the detectors against exact truth.
        verify: Read every byte again for --html and --serve, as freelabels verify does.
        rerun: Write clips in 3D with cameras, images, depth and labels into this .rrd file, for the Rerun viewer.
    """
    from freelabels.pipeline.viewer.inspect import draw_contact_sheet, print_table, write_scenes
    from freelabels.pipeline.viewer.inspect import inspect as figures_of
    from freelabels.pipeline.work.progress import print_json

    datasets = [dataset, *([beside] if beside else [])]
    if beside and not (serve or html):
        raise UserError("--beside shows two datasets on one page: give --html FILE or --serve too")
    if serve:
        from freelabels.pipeline.viewer.serve import serve as run_serve

        run_serve(datasets, port, _reporter(False).say, verify=verify)
        return 0
    figures = figures_of(dataset)
    if json:
        print_json(figures)
    else:
        print_table(figures, Console())
    if picture is not None:
        drawn = draw_contact_sheet(dataset, picture, frames=frames, fields=fields)
        Console(stderr=True).print(f"contact sheet: {drawn}", markup=False, soft_wrap=True)
    if scenes is not None:
        written = write_scenes(dataset, scenes)
        Console(stderr=True).print(f"{written} scenes written to {scenes}", markup=False, soft_wrap=True)
    if html is not None:
        from freelabels.pipeline.quality.verify import verify as run_verify
        from freelabels.pipeline.viewer.page import write_html

        verified = [run_verify(path) for path in datasets] if verify else []
        page = write_html(datasets, html, frames=page_frames, clips=measured_clips, verified=verified)
        Console(stderr=True).print(f"page: {page}", markup=False, soft_wrap=True)
    if rerun is not None:
        from freelabels.pipeline.viewer.rerun_export import write_rerun

        Console(stderr=True).print(f"rerun: {write_rerun(dataset, rerun)}", markup=False, soft_wrap=True)
    return 0


def verify(
    dataset: Positional[str],
    /,
    *,
    repair: bool = False,
    workers: int = 0,
    address: str | None = None,
    json: bool = False,
) -> int:
    """Read a dataset again and check every byte and every rule of the contract; name what is broken.

    Args:
        dataset: Folder or address (s3://bucket/path) of a dataset.
        repair: Drop what is broken, so that the next run of its stage makes it again.
        workers: Tasks at a time on Ray; 0 works in this process.
        address: Address of a running Ray cluster.
        json: Print the result as JSON.
    """
    from freelabels.pipeline.quality.verify import verify as run_verify

    reporter = _reporter(json)
    summary = run_verify(
        dataset,
        repair=repair,
        cluster=Where(None if address and not workers else workers, address).cluster,
        reporter=reporter,
    )
    for problem in summary.problems:
        reporter.say(str(problem), **dataclasses.asdict(problem))
    verdict = f"{len(summary.problems)} problems" if summary.problems else "all is whole"
    if summary.residual is not None:
        reporter.say(
            f"renders: depth, poses and object motion meet the stored flow within {summary.residual:.4f} px (p99)",
            residual=summary.residual,
        )
    repaired = f"; dropped {summary.repaired}: run the same stage again" if summary.repaired else ""
    _conclude(json, summary, f"{summary.shards} shards checked, {verdict}{repaired}")
    return 1 if summary.problems and not repair else 0


def card(
    dataset: Positional[str],
    /,
    *,
    name: str = "",
    description: str = "",
    license: str = "",
    source_license: str = "",
    creator: tuple[str, ...] = (),
    url: str = "",
    citation: str = "",
) -> int:
    """Write a dataset's card: README.md for people, croissant.json (MLCommons Croissant) for machines.

    Args:
        dataset: Folder of a dataset.
        name: What it is called; default the folder's name.
        description: What it is, in a sentence or more.
        license: Licence of the labels, an SPDX name or a URL.
        source_license: Terms of the frames that the labels were made from.
        creator: Who made it; may be given several times.
        url: Where it can be found.
        citation: How to cite it.
    """
    from freelabels.pipeline.cards import About
    from freelabels.pipeline.cards import card as write_card

    about = About(name, description, license, source_license, creator, url, citation)
    for path in write_card(dataset, about):
        print_line(f"written: {path}")
    return 0


def calibrate(
    *,
    out: str,
    clips: int = 24,
    seed: int | None = None,
    frames: int = 8,
    size: str = "256",
    install: bool = False,
    where: Annotated[Where, tyro.conf.arg(name="")] = HERE,
    json: bool = False,
) -> int:
    """Fit what each detector's confidence means on rendered clips, whose truth is exact.

    Args:
        out: Folder for calibration.json and a reliability diagram per label.
        clips: How many clips to render.
        seed: Seed of the clips; default: that of the maps that ship.
        frames: Frames of a clip.
        size: Side of the frames in pixels, or WIDTHxHEIGHT.
        install: Make these the maps that detectors use from now on, in this installation.
        where: Where and how carefully it runs.
        json: Print progress and summary as JSON lines on standard output.
    """
    from freelabels.pipeline.stages.calibrate import SEED_OF_MAPS
    from freelabels.pipeline.stages.calibrate import calibrate as run_calibrate

    summary = run_calibrate(
        out,
        clips,
        SEED_OF_MAPS if seed is None else seed,
        frames=frames,
        size=size_of(size),
        install=install,
        cluster=where.cluster,
        reporter=_reporter(json),
    )
    _conclude(json, summary, f"confidence maps and reliability diagrams: {out}")
    return 0


def _train_command() -> Callable[..., int]:
    """The `train` subcommand; made on demand, because torch and timm take seconds to import."""
    from freelabels.train.data.windows import by_domain
    from freelabels.train.run.trainer import TrainConfig, fit

    defaults = TrainConfig()

    def train(
        datasets: Positional[tuple[str, ...]],
        /,
        *,
        out: str,
        real: tuple[str, ...] = (),
        synthetic: tuple[str, ...] = (),
        config: TrainConfig = defaults,
        resume: bool = False,
        quiet: bool = False,
        workers: int = 0,
        address: str | None = None,
    ) -> int:
        """Train a multitask model on label shards of both domains.

        Args:
            datasets: Datasets; which domain each holds is read from its shards.
            out: Folder of the run: checkpoints, metrics.jsonl, pictures, train.toml.
            real: Further datasets of real frames.
            synthetic: Further datasets of rendered frames.
            config: What to train and how.
            resume: Go on exactly where the run in this folder stopped.
            quiet: No progress bar.
            workers: Processes of Ray Train, a GPU each where there are enough; 0: this process alone.
            address: Address of a running Ray cluster (auto, ray://HOST:10001); default: one of its own.
        """
        found_real, found_synthetic = by_domain(datasets)
        sides = ([*real, *found_real], [*synthetic, *found_synthetic])
        if workers or address:
            from freelabels.train.run.cluster import train_on_cluster

            summary = train_on_cluster(*sides, out, config, resume, workers or 1, address)
        else:
            summary = fit(*sides, out, config, resume, quiet)
        print_line(f"{summary.steps} steps, run folder {summary.run}")
        return 0 if summary.finished else INTERRUPTED

    # The name is local, so the annotation is given as a value.
    train.__annotations__["config"] = Annotated[TrainConfig, tyro.conf.arg(name="")]
    return train


def _probe_command() -> Callable[..., int]:
    """The `probe` subcommand."""
    from freelabels.train.probing.probe import ProbeConfig
    from freelabels.train.probing.probe import probe as run_probe
    from freelabels.train.probing.probe_report import MARKDOWN

    defaults = ProbeConfig()

    def probe(
        run: Positional[str],
        /,
        *,
        data: tuple[str, ...],
        out: str | None = None,
        config: ProbeConfig = defaults,
    ) -> int:
        """Score a run's features per stage on other tasks, beside random weights and the rotation pretext.

        Args:
            run: Folder of a run.
            data: Image folders (a folder a class), VOC or COCO folders, or datasets of labels.
            out: Where probe.json, probe.md and probe.png go; default the run's folder.
            config: How the features are probed.
        """
        run_probe(run, data, out, config, _reporter(False).say)
        print_line((Path(out or run) / MARKDOWN).read_text())
        return 0

    probe.__annotations__["config"] = Annotated[ProbeConfig, tyro.conf.arg(name="")]
    return probe


def _export_command() -> Callable[..., int]:
    """The `export` subcommand."""
    from freelabels.train.export import export as run_export

    def export(run: Positional[str], /, *, out: str) -> int:
        """Write a run's backbone as safetensors that timm loads, with a model card.

        Args:
            run: Folder of a run.
            out: Folder for the weights and the card.
        """
        print_line(f"weights: {run_export(run, out)}")
        return 0

    return export


# Subcommands whose libraries take seconds to import are made when they are asked for.
HEAVY: dict[str, tuple[str, Callable[[], Callable[..., int]]]] = {
    "train": ("Train a multitask model on label shards of both domains.", _train_command),
    "probe": ("Score a run's features on other tasks.", _probe_command),
    "export": ("Write a run's backbone for timm.", _export_command),
}
COMMANDS: dict[str, Callable[..., int]] = {
    "label": label,
    "render": render,
    "inspect": inspect,
    "verify": verify,
    "card": card,
    "calibrate": calibrate,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one subcommand and exit with its status: 0 done, 1 something failed, 2 bad input."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        status = _run(arguments)
    except UserError as error:
        _complain(str(error))
        status = 2
    except KeyboardInterrupt:
        _complain("interrupted; what is committed stays, run the same command again to go on")
        status = INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    sys.exit(status)


def _run(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in HEAVY:
        name, command = arguments[0], HEAVY[arguments[0]][1]()
        prog = f"freelabels {name}"
        return parsed(lambda: tyro.cli(deferred(command), prog=prog, args=arguments[1:]), prog)()
    prog = " ".join(["freelabels", *(name for name in arguments[:1] if name in COMMANDS)])
    others = "\n".join(f"{name}: {text}" for name, (text, _) in HEAVY.items())
    return parsed(
        lambda: tyro.extras.subcommand_cli_from_dict(
            {name: deferred(command) for name, command in COMMANDS.items()},
            prog="freelabels",
            description=f"Training labels that no human drew.\n\nAlso: {others}",
            args=arguments,
        ),
        prog,
    )()


def print_line(text: str) -> None:
    """A line on standard output, whole whatever the terminal's width."""
    Console(highlight=False).print(text, markup=False, soft_wrap=True)


def _terminate(*_: Any) -> None:
    """A polite kill is treated as Ctrl-C."""
    raise KeyboardInterrupt


def _complain(sentence: str) -> None:
    Console(stderr=True, highlight=False).print(f"freelabels: {sentence}", markup=False, soft_wrap=True)


def _conclude(json: bool, summary: Any, sentence: str) -> None:
    from freelabels.pipeline.work.progress import print_json

    if json:
        print_json({"summary": dataclasses.asdict(summary)})
    else:
        Console(highlight=False).print(sentence, markup=False, soft_wrap=True)


def _reporter(json: bool) -> Any:
    from freelabels.pipeline.work.progress import Reporter

    return Reporter("json" if json else "auto")


if __name__ == "__main__":
    main()
