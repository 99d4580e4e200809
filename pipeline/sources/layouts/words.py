"""Names of files and folders → words, and what the words say a picture is: a photo, or a map and of what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
BITS = re.compile(r"(?<=[A-Za-z])(8|16|32)[ _-]?bits?(?![a-z])", re.IGNORECASE)  # as in leftImg8bit

# Words that name a map. Where a picture of the same name without such a word lies beside it, it is a map; alone,
# it is one if it looks like it too.
MAPS = {
    "depth": "depth depths depthmap depthmaps zdepth",
    "disparity": "disp disps disparity disparities dispmap truedisp",
    "normals": "normal normals normalmap",
    "flow": "flow flows optflow opticalflow",
    "segmentation": "seg segs segm segmap segmaps segmentation segmentations semantic semantics instance "
    "instances inst panoptic label labels labelids labeltrainids instanceids annotation annotations anno gt "
    "cryptomatte part parts",
    "masks": "mask masks masked matte mattes alpha alphas trimap trimaps pha silhouette silhouettes occ nocc "
    "nonocc occlusion occlusions valid validity visib amodal foreground",
    "rendering passes": "albedo shading reshading reflectance illumination residual roughness metallic "
    "coordinates nocs uv curvature position",
    "edges": "edge edges boundary boundaries contour contours",
    "confidence": "confidence confidences conf uncertainty certainty heatmap heatmaps saliency",
    "motion": "motion regions region error errors",
}
MAP_OF = {word: kind for kind, words in MAPS.items() for word in words.split()}
# Words of maps alone that no photo is called by in passing: with a look that agrees they suffice.
PLAIN = frozenset(f"{MAPS['depth']} {MAPS['disparity']}".split())
# Words that only say that a picture is one, or who looked: left out when names are compared.
_PICTURE = """
rgb rgba rgbs color colors colour colours image images img imgs im photo photos frame frames pic pics picture
pictures jpg jpeg png jpegimage jpegimages cam camera pose poses sync bit aligned registered registration raw
intrinsic intrinsics extrinsic extrinsics fine coarse euclidean planar filled z refined backward forward results
keyframe keyframes corrected perfect object objects ids map maps groundtruth colored coloured gray grey final
geometry preview previews meters calib calibration
"""
PICTURE = frozenset(_PICTURE.split())
COMPOUND = {  # names whose words mean something only together
    "gtfine": "gt fine",
    "gtcoarse": "gt coarse",
    "segmentationclass": "segmentation",
    "segmentationobject": "segmentation",
    "rgbd": "rgbd",
}
SIDES = {"left": "right", "l": "r", "lft": "rgt", "lcam": "rcam", "limg": "rimg"}
SIDE_WORDS = frozenset([*SIDES, *SIDES.values(), "center", "centre"])
_CAMERA_WORDS = "image img im cam camera view colored coloured color colour gray grey disp lcam"
CAMERA_WORDS = frozenset(_CAMERA_WORDS.split())
MOST_CAMERAS = 2  # digits of a camera's number


@dataclass(frozen=True, slots=True)
class Name:
    """What a name says.

    key: its words but those of pictures, maps and sides: what belongs together has the same. maps: kinds of maps
    it names. plain: whether one of them is of depth or disparity.
    """

    key: tuple[str, ...]
    maps: tuple[str, ...]
    plain: bool

    @property
    def of_maps_alone(self) -> bool:
        """Whether it names maps and, but for numbers, nothing else."""
        return bool(self.maps) and all(word.isdigit() for word in self.key)


def words(text: str) -> list[str]:
    """The words and numbers of a name in lower case: "leftImg8bit_01" → left, img, 01."""
    return [word.lower() for word in WORD.findall(BITS.sub("", text))]


@lru_cache(1 << 14)
def read(text: str) -> Name:
    """What a file's stem or a folder's name says."""
    found = words(text)
    joined = "".join(found)
    if joined in COMPOUND:
        found = COMPOUND[joined].split()
    maps = tuple(dict.fromkeys(MAP_OF[word] for word in found if word in MAP_OF))
    key = tuple(w for w in found if w not in MAP_OF and w not in PICTURE and w not in SIDE_WORDS)
    return Name(key, maps, any(word in PLAIN for word in found))


def family(folder: str) -> str:
    """What folders have in common that may hold different views or maps of the same things.

    The parts of the path without words of pictures, maps and sides and without numbers of cameras; empty parts are
    left out, so that a folder and its `images` and `depth` are one family.
    """
    return "/".join(part for part in map(_common, folder.split("/")) if part)


@lru_cache(1 << 14)
def _common(part: str) -> str:
    name = read(part)
    if (
        not name.key
        or name.of_maps_alone
        or (len(name.key) == 1 and name.key[0].isdigit() and _is_camera(part))
    ):
        return ""
    return part if name.key == tuple(words(part)) else "-".join(name.key)


def _is_camera(part: str) -> bool:
    found = words(part)
    return len(found) > 1 and found[-2] in CAMERA_WORDS and len(found[-1]) <= MOST_CAMERAS


def camera_number(parts: Sequence[str]) -> str:
    """The number of the camera that the parts of a path name last, without leading zeros; "" if none does."""
    for part in reversed(parts):
        if _is_camera(part):
            return str(int(words(part)[-1]))
    return ""
