"""`freelabels render`: seeds → a dataset of rendered clips with exact labels."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

import freelabels
from freelabels.cli.shell.options import FLAT, HERE, Where, compression_of, size_of
from freelabels.cli.shell.terminal import DONE, FAILED, conclude, reporter, say
from freelabels.ground.errors import UserError
from freelabels.ground.spelling import counted


def render(
    *,
    out: str = "",
    clips: int = 16,
    frames: int = 16,
    size: str = "256",
    seed: int = 0,
    families: tuple[str, ...] = (),
    ranges: str | None = None,
    meshes: str | None = None,
    photos: str | None = None,
    environments: str | None = None,
    split: Literal["all", "train", "test"] = "all",
    image: Literal["ray", "tiny", "egl"] = "ray",
    stereo: Literal["none", "passive", "active"] = "none",
    sensor: bool = False,
    flow_steps: tuple[int, ...] = (),
    scene: str | None = None,
    preview: str | None = None,
    compression: str = "fast",
    layout: Literal["folders", "packed"] | None = None,
    where: Annotated[Where, FLAT] = HERE,
    json: bool = False,
) -> int:
    """Render randomised scenes with exact labels into zarr shards; run again to go on where it stopped.

    Args:
        out: Folder or address (s3://bucket/path) of the dataset; it is made, or completed.
        clips: How many clips; clip numbers are part of the seed, so that more can be added later.
        frames: Frames of a clip, 1 to 64.
        size: Side of the frames in pixels, or WIDTHxHEIGHT.
        seed: Seed of everything random; 0 is a seed like any other.
        families: Sorts of places: pile, room, shelf, street, table; one more often by room=2. All but pile
            unless told.
        ranges: A TOML file that overrides what scenes are drawn from.
        meshes: A folder of your own meshes (obj, glb, ply, stl, urdf); subfolders name classes.
        photos: A folder of your own photos, for textures and backgrounds.
        environments: A folder of your own environment maps (hdr, exr), that light scenes out of doors.
        split: Which share of the assets, so that test objects are never trained on.
        image: Who makes the pixels: our ray tracer, or PyBullet's TinyRenderer or EGL plug-in.
        stereo: passive adds the right view of a rectified pair, with disparity in pixels; active projects dots
            besides, which both views show.
        sensor: Add depth as a depth camera would measure it, noisy and with holes, as the field sensor_depth.
        flow_steps: Add flow over so many frames, some of 2, 4, 8, both ways: flow_2, flow_backward_2 …
        scene: Render the scene in this file again (as inspect --scenes writes it), one clip.
        preview: Draw a frame of a dozen clips, ray traced, with their labels into this PNG instead of making a
            dataset, in cells of twice --size; frames, image, stereo, sensor, flow-steps and scene don't count.
        compression: fast (LZ4) or small (zstd).
        layout: How a shard lies there: as a folder of files, usual on a disk, or packed into one object a commit,
            usual in an object store.
        where: Where and how carefully it runs.
        json: Print progress and summary as JSON lines on standard output.
    """
    from freelabels.pipeline.stages.render import draw_preview
    from freelabels.pipeline.stages.render_inputs import load_ranges, load_scene

    options = freelabels.RenderOptions(
        seed, frames, size_of(size, smallest=1), image, load_ranges(ranges, families), meshes, photos, split
    )
    options = dataclasses.replace(options, environments=environments, stereo=stereo, sensor=sensor)
    options = dataclasses.replace(options, flow_steps=flow_steps)
    if scene is not None:
        stored, beside = load_scene(scene)
        known: dict[str, Any] = {name: beside[name] for name in ("frames", "image") if name in beside}
        if "size" in beside:
            known["size"] = tuple(beside["size"])
        options = dataclasses.replace(options, scene=stored, **known)
        clips = 1
    if preview is not None:
        say(f"preview: {draw_preview(preview, options)}")
        return DONE
    if not out:
        raise UserError("name the folder of the dataset with --out, or a picture with --preview")
    summary = freelabels.render(
        out,
        clips,
        options,
        compression=compression_of(compression),
        layout=layout,
        cluster=where.cluster,
        reporter=reporter(json),
    )
    failed = f"; {summary.failed} failed" if summary.failed else ""
    made = f"{summary.made} of {counted(summary.shards, 'shard')} made"
    held = f"{counted(summary.frames, 'frame')} in {summary.dataset}"
    conclude(json, summary, f"{made}, {held}{failed}")
    return DONE if summary.complete else FAILED
