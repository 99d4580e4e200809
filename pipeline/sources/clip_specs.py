"""What a clip is cut from: everything needed to decode exactly its frames again, as plain numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.clip import BASELINE, CONSECUTIVE, INTRINSICS, SENSOR_DEPTH, SOUND, STEREO
from freelabels.generators.contract.geometry import intrinsics, intrinsics_from_fov
from freelabels.ground.errors import UserError
from freelabels.pipeline.shards.summary import number_of

MAX_CLIP = 64  # frames of one shard, so of one clip
DEFAULT_FPS = (
    10.0  # frames a second taken from a video: enough motion between frames to measure, no near-copies
)
ASSUMED_FPS = 30.0  # of numbered images, which carry no time
ASSUMED_FOV = 60.0  # degrees across the longer side where nothing tells
MOST_BETWEEN = 3  # frames between two that are stored: 40 a second are seen at 10 a second
GIVEN, EXIF, ASSUMED = "given", "exif", "assumed"


@dataclass(frozen=True)
class SourceOptions:
    """How sources are cut into clips.

    fps: frames a second taken from videos, by their time stamps; a slower video keeps all its frames; None:
    every frame. Numbered images and RGB-D sequences keep all frames. clip_length: most frames of a clip,
    2..64; a longer shot becomes several parts of nearly equal length. camera: (fx, fy, cx, cy) of all sources
    in pixels of the upright full-size image, pixel centres at +0.5; or fov: degrees across the longer side.
    stream: which of a file's videos, counted from 0; covers don't count. depth_unit: metres that one count of all
    stored depth is; None: as layouts and files beside it tell. Raises UserError for what can't be.
    """

    fps: float | None = DEFAULT_FPS
    clip_length: int = MAX_CLIP
    camera: tuple[float, float, float, float] | None = None
    fov: float | None = None
    stream: int = 0
    depth_unit: float | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps < 1e4:
            raise UserError(f"--fps must be positive, not {self.fps}")
        if not 2 <= self.clip_length <= MAX_CLIP:
            raise UserError(f"--clip-length must lie in 2..{MAX_CLIP}, not {self.clip_length}")
        if self.stream < 0:
            raise UserError(f"--stream counts a file's videos from 0, so it can't be {self.stream}")
        if self.depth_unit is not None and not 0 < self.depth_unit < 1e3:
            raise UserError(f"--depth-unit is metres a count, such as 0.001, not {self.depth_unit}")
        if self.fov is not None and not 1 <= self.fov <= 170:
            raise UserError(f"--fov must lie in 1..170 degrees, not {self.fov}")
        if self.fov is not None and self.camera is not None:
            raise UserError("give --camera or --fov, not both")
        if self.camera is not None and not (min(self.camera[:2]) > 0 and np.isfinite(self.camera).all()):
            raise UserError(f"--camera needs positive focal lengths fx fy cx cy, not {self.camera}")

    @property
    def chosen(self) -> bool:
        """Whether the user said anything about intrinsics."""
        return self.camera is not None or self.fov is not None

    def camera_of(
        self, size: tuple[int, int], focal: float | None = None
    ) -> tuple[tuple[float, float, float, float], str]:
        """(fx, fy, cx, cy) of an image of `size` = (height, width) and where it is from."""
        height, width = size
        if self.camera is not None:
            return self.camera, GIVEN
        if self.fov is None and focal is not None:
            return camera_numbers(intrinsics(focal, width, height)), EXIF
        K = intrinsics_from_fov(self.fov or ASSUMED_FOV, width, height)
        return camera_numbers(K), ASSUMED if self.fov is None else GIVEN


@dataclass(frozen=True)
class ClipSpec:
    """One clip as a pure function of file content and options.

    kind: "photo", "video", "sequence", "stereo" or "rgbd". uris: the video or photo, or one image a frame
    (stereo: all left ones, then all right ones). depth, poses: one file a frame, "" where a frame has none,
    or none at all. sha256: of the source's content (several files: of their hashes in order). size:
    (height, width) of a frame, upright, at full resolution. indices: which frames of the source, times:
    theirs, in seconds. pts: their time stamps in the video's own unit, empty if it has no usable ones;
    checksum: of the first frame as decoded. camera: (fx, fy, cx, cy) in pixels of `size`; intrinsics: where
    they come from. rate: frames a second; rate_assumed: whether the source said nothing of it. shot, part,
    parts: clips of the same shot share `shot` and follow each other in `part` of `parts`. note: one
    sentence about what is odd, "". colour: what its numbers were taken to mean, and what of that was
    assumed. stream: which of the videos in a file, counted from 0. depth_unit: metres a count of stored depth
    is; depth_trust: how far that is to be believed, 0..1. track: of each frame the first three rows of its pose,
    row by row, where a file about all frames tells them. doffs: pixels of `size` that the right view's principal
    point lies further right than the left one's. origins: (what, which file or layout told it), for people. tags:
    (kind, text, which file told it) of words that came with the source. sound: whether the file has a sound track
    and time stamps that say which of it belongs to the frames.
    """

    kind: str
    uris: tuple[str, ...]
    sha256: str
    size: tuple[int, int]
    indices: tuple[int, ...]
    times: tuple[float, ...]
    camera: tuple[float, float, float, float]
    intrinsics: str
    rate: float = 0.0
    rate_assumed: bool = False
    pts: tuple[int, ...] = ()
    checksum: int = 0
    depth: tuple[str, ...] = ()
    poses: tuple[str, ...] = ()
    depth_unit: float = 0.001
    baseline: float | None = None
    shot: str = ""
    part: int = 1
    parts: int = 1
    note: str = ""
    colour: str = ""
    stream: int = 0
    depth_trust: float = 1.0
    track: tuple[tuple[float, ...], ...] = ()
    doffs: float = 0.0
    origins: tuple[tuple[str, str], ...] = ()
    tags: tuple[tuple[str, str, str], ...] = ()
    sound: bool = False

    @property
    def frames(self) -> int:
        """How many frames the clip has."""
        return len(self.indices)

    @property
    def camera_K(self) -> NDArray[np.float64]:
        """Intrinsics (3, 3) in pixels of the full-size upright frame, pixel centres at +0.5."""
        fx, fy, cx, cy = self.camera
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])

    @property
    def between(self) -> tuple[tuple[int, ...], ...]:
        """Of each frame but the last, numbers of the source's frames to look at before the next, evenly spread."""
        if self.kind != "video":
            return ()
        found = []
        for here, there in pairwise(self.indices):
            count = min(there - here - 1, MOST_BETWEEN)
            found.append(tuple(here + round((there - here) * k / (count + 1)) for k in range(1, count + 1)))
        return tuple(found) if any(found) else ()

    @property
    def provides(self) -> frozenset[str]:
        """What detectors may need beyond single frames and this clip has (names from `contract.clip`)."""
        has = {
            CONSECUTIVE: self.frames > 1,
            STEREO: self.kind == "stereo",
            SENSOR_DEPTH: bool(self.depth),
            INTRINSICS: self.intrinsics != ASSUMED,
            BASELINE: self.baseline is not None and self.intrinsics != ASSUMED,
            SOUND: self.sound,
        }
        return frozenset(name for name, present in has.items() if present)

    @cached_property
    def key(self) -> str:
        """Identity of content, frames and options, not of names and places: 16 hexadecimal digits."""
        identity = {f.name: getattr(self, f.name) for f in fields(self)}
        identity |= {"uris": (), "note": "", "checksum": 0}
        del identity["colour"], identity["origins"], identity["tags"], identity["sound"]
        for name, plain in NOT_OF_OLD.items():  # clips of before these were known keep their keys
            if identity[name] == plain:
                del identity[name]
        identity |= {"depth": len(self.depth), "poses": len(self.poses)}
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ClipSpec:
        """The inverse of `to_json`; unknown names raise TypeError."""
        return cls(**{name: _frozen(value) for name, value in values.items()})


NOT_OF_OLD = {
    "stream": 0,
    "depth_trust": 1.0,
    "track": (),
    "doffs": 0.0,
}  # fields added to identity, their defaults


def _frozen(value: Any) -> Any:
    """JSON lists as tuples, those inside too."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


@dataclass(frozen=True)
class ClipColumns:
    """Many clips, as columns of what planning needs; the rest of a clip is read when its turn comes.

    keys: (clips,) as numbers. frames: (clips,) how many each has, `MAX_CLIP` at most. offers: (clips,) which of
    `kinds` each is.
    kinds: (kind, what it provides) as a `ClipSpec` says them. read: clip number → the whole of it.
    """

    keys: NDArray[np.uint64]
    frames: NDArray[np.uint8]
    offers: NDArray[np.uint8]
    kinds: Sequence[tuple[str, frozenset[str]]]
    read: Callable[[int], ClipSpec]

    def __len__(self) -> int:
        return len(self.keys)

    @staticmethod
    def of(specs: Sequence[ClipSpec]) -> ClipColumns:
        """Columns of clips at hand."""
        numbers: dict[tuple[str, frozenset[str]], int] = {}
        offers = [numbers.setdefault((spec.kind, spec.provides), len(numbers)) for spec in specs]
        return ClipColumns(
            np.array([number_of(spec.key) for spec in specs], np.uint64),
            np.array([spec.frames for spec in specs], np.uint8),
            np.array(offers, np.uint8),
            tuple(numbers),
            specs.__getitem__,
        )


def camera_numbers(K: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """(fx, fy, cx, cy) of K."""
    return float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2])
