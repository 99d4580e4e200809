"""Clips in 3D for the Rerun viewer: cameras where they stood, their images, depth as points, labels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from freelabels.generators.contract.fields import Array, Kind, confidence_name
from freelabels.generators.contract.fields import field as field_named
from freelabels.generators.contract.pictures import picture
from freelabels.ground.errors import UserError
from freelabels.pipeline.quality.spot_check import Span
from freelabels.pipeline.shards.dataset import Dataset
from freelabels.pipeline.shards.shard import Shard
from freelabels.pipeline.storage.uris import output_file
from freelabels.pipeline.viewer.frame_reader import drawable, is_label, names_of
from freelabels.pipeline.viewer.report import gather

UNSHOWN = ("camera_distortion", "camera_shutter")  # tables that Rerun's cameras have no word for
MOST_CLIPS = 8
MOST_FRAMES = 32  # of a clip


def write_rerun(
    path: str | os.PathLike[str], target: str | os.PathLike[str], clips: int = MOST_CLIPS
) -> Path:
    """Write up to `clips` clips, spread evenly over a dataset, as an .rrd file with a timeline ``frame``.

    Each clip is a world of its own, ``/clip_0/world`` and so on: the camera with its frustum at its pose (at the
    origin if that is unknown), below it the image, metric depth (the viewer shows it as points) and a picture of
    every label; ids and classes with their names. Raises UserError if rerun-sdk is missing, if there is nothing to
    show or if the file can't be written.
    """
    try:
        import rerun as rr
    except ImportError as error:
        raise UserError(
            "--rerun needs a package that is not installed: pip install 'freelabels[rerun]'"
        ) from error
    spans = gather(path).spans
    if not spans:
        raise UserError(f"{path} holds no frames yet, so there is nothing to show")
    chosen = [spans[k * len(spans) // clips] for k in range(clips)] if len(spans) > clips else spans
    with output_file(target) as file:
        file.touch()
    recording = rr.RecordingStream("freelabels")
    recording.save(file)
    dataset = Dataset(path)
    for number, span in enumerate(chosen):
        shard = dataset.open(span.shard)
        _log_clip(rr, recording, shard, span, f"clip_{number}")
        shard.close()
    recording.flush()
    recording.disconnect()
    return file


def _log_clip(rr: Any, recording: Any, shard: Shard, span: Span, root: str) -> None:
    stop = min(span.stop, span.start + MOST_FRAMES)
    clip = next(clip for clip in shard.clips if clip["rows"][0] == span.start)
    wanted = [n for n in shard.fields if drawable(n) or n in ("camera_K", "camera_pose", "time", *UNSHOWN)]
    columns = {name: shard.read_rows(name, span.start, stop) for name in wanted}
    recording.log(root, rr.AnyValues(source=str((clip.get("source") or [""])[0])), static=True)
    recording.log(f"{root}/world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    for name in columns:
        if names := names_of(shard, name, clip):
            described = [rr.AnnotationInfo(id=number, label=text) for number, text in names.items()]
            recording.log(f"{root}/world/camera/{name}", rr.AnnotationContext(described), static=True)
    for t in range(stop - span.start):
        recording.set_time("frame", sequence=t)
        if "time" in columns:
            recording.set_time("time", duration=float(columns["time"][t]))
        _log_camera(rr, recording, columns, t, f"{root}/world/camera")
        for name, values in columns.items():
            thing = _archetype(rr, name, values[t], columns, t)
            if thing is not None:
                recording.log(f"{root}/world/camera/{name}", thing)


def _log_camera(rr: Any, recording: Any, columns: Mapping[str, Array], t: int, camera: str) -> None:
    """The camera's pose and frustum; where the pose is unknown, the camera is the world.

    Rerun knows pinholes alone: what a lens bends and a shutter takes late is said, and points lie where a pinhole
    would have seen them.
    """
    pose = columns["camera_pose"][t] if "camera_pose" in columns else np.full((4, 4), np.nan)
    pose = pose if np.isfinite(pose).all() else np.eye(4)
    recording.log(camera, rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
    size = next(
        (values.shape[1:3] for name, values in columns.items() if is_label(name) or name == "image"), None
    )
    if "camera_K" in columns and size is not None:
        recording.log(
            camera,
            rr.Pinhole(
                image_from_camera=columns["camera_K"][t],
                resolution=[size[1], size[0]],
                camera_xyz=rr.ViewCoordinates.RDF,
            ),
        )
    told = [name for name in UNSHOWN if name in columns and columns[name][t].any()]
    if told:
        recording.log(camera, rr.AnyValues(**{name: columns[name][t].tolist() for name in told}))


def _archetype(rr: Any, name: str, values: Array, columns: Mapping[str, Array], t: int) -> Any:
    """What Rerun shows one field of one frame as; None for what it has nothing for."""
    if name == "image":
        return rr.Image(np.ascontiguousarray(values)).compress(jpeg_quality=90)
    if not is_label(name):
        return None
    kind = field_named(name).kind
    if kind is Kind.METRIC:
        known = np.where(np.isfinite(values), values, 0)
        return rr.DepthImage(np.ascontiguousarray(known, np.float32), meter=1.0)
    if kind in (Kind.IDENTITY, Kind.CATEGORY):
        return rr.SegmentationImage(np.ascontiguousarray(values))
    if kind is Kind.BITS:
        return None
    trust = columns.get(confidence_name(name))
    return rr.Image(np.ascontiguousarray(picture(name, values, None if trust is None else trust[t])))
