"""What a render may be told in files: a scene to render again, and what scenes are drawn from."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from freelabels.ground.errors import UserError
from freelabels.renderers.draw.ranges import SceneRanges, ranges_from_toml
from freelabels.renderers.scene.scene import scene_from_json


def load_scene(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A stored scene, and what its file says besides (frames, size, image). Raises UserError.

    The file holds a scene, or a clip's record as `freelabels inspect --scenes` writes it.
    """
    try:
        document = json.loads(Path(path).read_text())
    except OSError as error:
        raise UserError(f"--scene {path}: can't be read ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"--scene {path}: is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise UserError(f"--scene {path}: holds no scene")
    scene = document.get("scene", document)
    try:
        scene_from_json(scene)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"--scene {path}: {error}") from error
    return scene, document if scene is not document else {}


def load_ranges(path: str | None, families: Sequence[str] = ()) -> SceneRanges:
    """The default ranges with what a TOML file and a list of families override. Raises UserError.

    families: names, or names and weights as in "room=2".
    """
    try:
        ranges = ranges_from_toml(Path(path)) if path is not None else SceneRanges()
    except (ValueError, OSError) as error:
        raise UserError(f"--ranges {error}") from error
    if not families:
        return ranges
    try:
        weights = {name: float(weight or 1) for name, _, weight in (each.partition("=") for each in families)}
        return dataclasses.replace(ranges, families=weights)
    except ValueError as error:
        raise UserError(f"--families {' '.join(families)}: {error}") from error
