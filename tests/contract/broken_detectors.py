"""One detector that keeps the contract, and others that each break one rule of it, with what is said of them."""

import dataclasses
import os
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import cv2
import numpy as np

from freelabels.generators.contract.clip import CONSECUTIVE, SEED, SENSOR_DEPTH, Clip
from freelabels.generators.contract.fields import as_stored

Made = dict[str, np.ndarray]
BROKEN: dict[type, str] = {}


def says(sentence: str) -> Callable[[type], type]:
    """Class decorator: the class breaks the contract, and this is part of the sentence on it."""

    def note(cls: type) -> type:
        made = cls if "__dataclass_params__" in vars(cls) else dataclass(frozen=True)(cls)
        BROKEN[made] = sentence
        return made

    return note


@dataclass(frozen=True)
class Darkness:
    """What is darker than `level` is foreground."""

    name: ClassVar[str] = "darkness"
    version: ClassVar[int] = 1
    makes: ClassVar[tuple[str, ...]] = ("foreground", "foreground_confidence")
    needs: ClassVar[frozenset[str]] = frozenset()

    level: float = 0.4
    weights: tuple[float, float, float] = (0.3, 0.6, 0.1)

    def __call__(self, clip: Clip) -> Made:
        dark = clip.image @ np.array(self.weights) < 255 * self.level
        return {
            "foreground": np.uint8(255) * dark,
            "foreground_confidence": np.full(dark.shape, 128, np.uint8),
        }


@dataclass(frozen=True)
class Clever(Darkness):
    """Reads what is there, draws where it says so, and keeps the contract."""

    name: ClassVar[str] = "clever"
    needs: ClassVar[frozenset[str]] = frozenset({SEED, "regions"})
    uses: ClassVar[frozenset[str]] = frozenset({"flow", "instance"})

    def __call__(self, clip: Clip) -> Made:
        drawn = np.random.default_rng(clip.seed).integers(0, 256, clip.labels["regions"].shape, np.uint8)
        if "flow" in clip.labels:
            drawn[np.isnan(clip.labels["flow"][..., 0])] = 7
        return {"foreground": drawn, "foreground_confidence": drawn // 2}


# --- what they say of themselves --------------------------------------------------------------------------------


@says("is not a frozen dataclass")
@dataclass
class Thawed:
    name: ClassVar[str] = "thawed"


@says("has no class variable 'version'")
class Unversioned:
    name: ClassVar[str] = "unversioned"


@says("has the version 0, not a whole number from 1 on")
class Zero(Darkness):
    version: ClassVar[int] = 0


@says("has the name of another detector, ContourEdges")
class Namesake(Darkness):
    name: ClassVar[str] = "edges"


@says("makes 'foregroud', which is no field")
class Misspelt(Darkness):
    makes: ClassVar[tuple[str, ...]] = ("foregroud",)


@says("makes 'foreground' without 'foreground_confidence'")
class Overconfident(Darkness):
    makes: ClassVar[tuple[str, ...]] = ("foreground",)


@says("makes 'edges_confidence' without the label that it speaks of")
class Stranger(Darkness):
    makes: ClassVar[tuple[str, ...]] = (*Darkness.makes, "edges_confidence")


@says("needs 'sterio', which is neither a field nor something that clips have")
class Wishful(Darkness):
    needs: ClassVar[frozenset[str]] = frozenset({"sterio"})


@says("reads foreground, which it makes itself")
class Circular(Darkness):
    needs: ClassVar[frozenset[str]] = frozenset({"foreground"})


@says("needs instance, which no sample clip has")
class Demanding(Darkness):
    needs: ClassVar[frozenset[str]] = frozenset({"instance"})


@says("has parameters that JSON can't hold")
class Opaque(Darkness):
    model: Any = field(default_factory=lambda: np.zeros(3))


@says("has parameters that JSON can't hold")
class Endless(Darkness):
    level: float = float("inf")


@says("is another after a round trip of its parameters through JSON")
class Counted(Darkness):
    count: int = field(default=0, compare=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", self.count + 1)


@says("can't be made again from its parameters in JSON")
class Rigid(Darkness):
    power: float = field(default=2.0, init=False)


@says("has needs = {'a seed'}, not a frozenset")
class Loose(Darkness):
    needs: ClassVar[set[str]] = {SEED}


@says("uses 'flo', which is no field")
class Unlucky(Darkness):
    uses: ClassVar[frozenset[str]] = frozenset({"flo"})


# --- what they make ---------------------------------------------------------------------------------------------


@says("makes ['foreground'], it says ['foreground', 'foreground_confidence']")
class Forgetful(Darkness):
    def __call__(self, clip: Clip) -> Made:
        return {"foreground": super().__call__(clip)["foreground"]}


@says("makes foreground as list, not as an array")
class Plain(Darkness):
    def __call__(self, clip: Clip) -> Made:
        return {name: values.tolist() for name, values in super().__call__(clip).items()}


@says("(foreground: dtype is float64, the contract says uint8)")
class Floating(Darkness):
    def __call__(self, clip: Clip) -> Made:
        return {**super().__call__(clip), "foreground": clip.image.mean(axis=-1)}


@says("makes 3 frames of foreground, the clip has 4")
class Short(Darkness):
    def __call__(self, clip: Clip) -> Made:
        return {name: values[: max(1, len(values) - 1)] for name, values in super().__call__(clip).items()}


@says("makes foreground of shape (1, 24, 32), the clip has (frame, y, x) = (1, 48, 64)")
class Halved(Darkness):
    def __call__(self, clip: Clip) -> Made:
        return {name: values[:, ::2, ::2] for name, values in super().__call__(clip).items()}


@dataclass(frozen=True)
class Facing:
    """Normals of a wall before the camera, wherever depth was measured."""

    name: ClassVar[str] = "facing"
    version: ClassVar[int] = 1
    makes: ClassVar[tuple[str, ...]] = ("normals", "normals_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({SENSOR_DEPTH})
    towards: float = -1.0

    def __call__(self, clip: Clip) -> Made:
        known = np.isfinite(clip.sensor_depth)
        return {
            "normals": as_stored("normals", np.array([0, 0, self.towards]) * known[..., None]),
            "normals_confidence": np.uint8(200) * known,
        }


@says("holds vectors that are neither of unit length nor zero")
class Long(Facing):
    towards: float = -2.0


@says("makes normals that face away from the camera")
class Averted(Facing):
    towards: float = 1.0


@says("trusts normals where there is none")
class Trusting(Facing):
    def __call__(self, clip: Clip) -> Made:
        made = super().__call__(clip)
        return {**made, "normals_confidence": np.full_like(made["normals_confidence"], 9)}


@says("trusts normals, of which nothing was measured, on the clip 'nothing measured'")
class Imaginative(Facing):
    def __call__(self, clip: Clip) -> Made:
        whole = dataclasses.replace(clip, sensor_depth=np.ones(clip.image.shape[:3], np.float32))
        return super().__call__(whole)


@dataclass(frozen=True)
class Still:
    """Nothing flows, and it is known where frames are alike and textured."""

    name: ClassVar[str] = "still"
    version: ClassVar[int] = 1
    makes: ClassVar[tuple[str, ...]] = ("flow", "flow_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({CONSECUTIVE})

    def __call__(self, clip: Clip) -> Made:
        flow = np.zeros((*clip.image.shape[:3], 2), np.float16)
        trust = np.zeros(flow.shape[:3], np.uint8)
        return {"flow": flow, "flow_confidence": self.trust(clip, trust)}

    def trust(self, clip: Clip, trust: np.ndarray) -> np.ndarray:
        """Confidence, from zeros."""
        if np.ptp(clip.image) > 9:
            trust[:-1] = 100
        return trust


@says("trusts flow in the last frame, which has no other to flow to, on the clip 'video'")
class Prophetic(Still):
    def trust(self, clip: Clip, trust: np.ndarray) -> np.ndarray:
        return trust + np.uint8(1)


@says("trusts flow, matched between frames of one colour, on the clip 'black'")
class Blind(Still):
    def trust(self, clip: Clip, trust: np.ndarray) -> np.ndarray:
        trust[:-1] = 1
        return trust


@says("trusts disparity, seen in frames that are all alike, on the clip 'still video'")
class Stereotyped(Darkness):
    makes: ClassVar[tuple[str, ...]] = ("disparity", "disparity_confidence")
    needs: ClassVar[frozenset[str]] = frozenset({CONSECUTIVE})

    def __call__(self, clip: Clip) -> Made:
        grey = clip.image[..., 0]
        return {"disparity": as_stored("disparity", grey), "disparity_confidence": grey // 2}


@says("trusts foreground, made of labels that have no confidence, on the clip 'nothing known'")
class Gullible(Darkness):
    needs: ClassVar[frozenset[str]] = frozenset({"edges", "edges_confidence"})


# --- what they do -----------------------------------------------------------------------------------------------


@says("writes into the clip that it is given")
class Careless(Darkness):
    def __call__(self, clip: Clip) -> Made:
        clip.image[0, 0, 0, 0] += 1
        return super().__call__(clip)


@says("raises ValueError (only even heights), on the clip 'one frame of 17 × 23'")
class Picky(Darkness):
    def __call__(self, clip: Clip) -> Made:
        if clip.size[0] % 2:
            raise ValueError("only even heights")
        return super().__call__(clip)


@says("reads the label edges without declaring it, on the clip 'photo'")
class Curious(Darkness):
    def __call__(self, clip: Clip) -> Made:
        clip.labels.get("edges")
        return super().__call__(clip)


@says("reads the label edges without declaring it, on the clip 'photo'")
class Presumptuous(Darkness):
    def __call__(self, clip: Clip) -> Made:
        return {**super().__call__(clip), "foreground": clip.labels["edges"]}


@says("makes another foreground for another seed, but does not declare that it needs one")
class Gambling(Darkness):
    def __call__(self, clip: Clip) -> Made:
        made = super().__call__(clip)
        made["foreground"][0, 0, 0] = clip.seed % 256
        return made


@says("makes another foreground when called again with the same clip")
class Random(Darkness):
    def __call__(self, clip: Clip) -> Made:
        made = super().__call__(clip)
        made["foreground"][0, 0, 0] = random.randrange(256)
        return made


@says("makes another foreground when called again with the same clip")
class NumpyRandom(Darkness):
    def __call__(self, clip: Clip) -> Made:
        made = super().__call__(clip)
        made["foreground"][0, 0] = np.random.randint(0, 256, clip.size[1])  # noqa: NPY002
        return made


@says("makes another foreground when called again with the same clip")
class OpenCVRandom(Darkness):
    def __call__(self, clip: Clip) -> Made:
        made = super().__call__(clip)
        made["foreground"][0] = cv2.randu(np.zeros(clip.size, np.uint8), 0, 256)
        return made


_calls: list[int] = []


@says("makes another foreground when called again with the same clip")
class Counting(Darkness):
    def __call__(self, clip: Clip) -> Made:
        _calls.append(0)
        made = super().__call__(clip)
        made["foreground"][0, 0, 0] = len(_calls) % 256
        return made


_seen: list[int] = []


@says("raises RuntimeError when called again (once is enough)")
class Fickle(Darkness):
    def __call__(self, clip: Clip) -> Made:
        _seen.append(0)
        if len(_seen) % 2 == 0:
            raise RuntimeError("once is enough")
        return super().__call__(clip)


_buffer: Made = {}


@says("writes into the foreground of an earlier call")
class Reusing(Darkness):
    def __call__(self, clip: Clip) -> Made:
        made = super().__call__(clip)
        buffer = _buffer.setdefault(str(made["foreground"].shape), made["foreground"])
        np.add(buffer, 1, out=buffer)
        return {**made, "foreground": buffer}


@says("makes another foreground in another process with other threads, on the clip 'photo'")
class Local(Darkness):
    def __call__(self, clip: Clip) -> Made:
        made = super().__call__(clip)
        made["foreground"][0, 0] = os.getpid() % 251
        made["foreground"][0, 1] = os.getpid() % 256
        return made


@says("makes another foreground in another process with other threads, on the clip 'photo'")
class Threaded(Darkness):
    def __call__(self, clip: Clip) -> Made:
        made = super().__call__(clip)
        made["foreground"][0, 0] = cv2.getNumThreads()
        return made


@says("makes another foreground in another process with other threads, on the clip 'photo'")
class Hashing(Darkness):
    def __call__(self, clip: Clip) -> Made:
        made = super().__call__(clip)
        made["foreground"][0, 0, :8] = list(np.int64(hash("foreground")).tobytes())
        return made


@says("reaches for the network (127.0.0.1)")
class Talkative(Darkness):
    def __call__(self, clip: Clip) -> Made:
        with socket.socket() as line:
            line.connect_ex(("127.0.0.1", 9))
        return super().__call__(clip)


@says("loads zarr, which workers that label do without")
class Heavy(Darkness):
    def __call__(self, clip: Clip) -> Made:
        import zarr  # noqa: F401

        return super().__call__(clip)


@says("ends the process with status 3")
class Quitting(Darkness):
    parent: int = field(default_factory=os.getpid)

    def __call__(self, clip: Clip) -> Made:
        if os.getpid() != self.parent:
            os._exit(3)
        return super().__call__(clip)
