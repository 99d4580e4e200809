"""`freelabels sources`: what sources hold, before any work."""

from __future__ import annotations

import dataclasses
import json as json_format

from tyro.conf import Positional

from freelabels.cli.shell.terminal import DONE, FAILED, say
from freelabels.ground.errors import UserError


def sources(
    paths: Positional[tuple[str, ...]],
    /,
    *,
    fps: float | None = 10.0,
    camera: tuple[float, float, float, float] | None = None,
    fov: float | None = None,
    depth_unit: float | None = None,
    stream: int = 0,
    json: bool = False,
) -> int:
    """Show what sources hold and how it was understood: kinds, cameras, units of depth, what is passed over.

    Every file is decoded once, nothing is written.

    Args:
        paths: Photos, videos, folders of them, globs, .txt lists, s3:// gs:// https:// URIs, as for label.
        fps: Frames a second taken from videos, by their time stamps; None takes every frame.
        camera: Intrinsics fx fy cx cy in pixels of the full-size image, for all sources.
        fov: Field of view across the longer side in degrees, for all sources; instead of --camera.
        depth_unit: Metres that one count of stored depth is (0.001: millimetres); default: as layouts tell.
        stream: Which of the videos in a file with several, counted from 0; covers don't count.
        json: Print it as one JSON document.
    """
    from freelabels.pipeline.sources.clip_specs import SourceOptions
    from freelabels.pipeline.sources.inventory import inventory, lines

    if not paths:
        raise UserError("no source: name photos, videos or folders of them")
    options = SourceOptions(fps=fps, camera=camera, fov=fov, depth_unit=depth_unit, stream=stream)
    found = inventory(paths, options)
    if json:
        say(json_format.dumps(dataclasses.asdict(found)))
    else:
        for line in lines(found):
            say(line)
    return DONE if found.holdings else FAILED
