"""Folders of human-labelled images that probes are scored on, by their layout, and their pixels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.morphology import skeletonize
from torch import Tensor

from freelabels.ground.errors import UserError
from freelabels.pipeline.storage.uris import SourceError, read_bytes, why
from freelabels.train.data.augment import Resampler, centre_view
from freelabels.train.probing.layouts.bsds import Drawn, boundaries, bsds, bsds_folders
from freelabels.train.probing.layouts.coco import coco_classes, coco_files
from freelabels.train.probing.layouts.folders import class_folders, has_images_beside_maps, images_beside_maps
from freelabels.train.probing.layouts.imagenet import imagenet, imagenet_pictures
from freelabels.train.probing.layouts.pixels import READERS, read_image
from freelabels.train.probing.layouts.places import is_places, places
from freelabels.train.probing.layouts.sets import Classified, Listed, Segmented
from freelabels.train.probing.layouts.voc import has_classes, has_maps, voc_classes, voc_masks, voc_roots

LAYOUTS = (
    "a folder a class (or train/ and test/ of these), ImageNet (ILSVRC), Places205 or Places365 (their lists), "
    "VOC (Annotations, JPEGImages, ImageSets), COCO (annotations/instances_*.json), images/ with labels/ (or "
    "train/ and test/ of these), BSDS (images/ with groundTruth/), or a Freelabels dataset"
)


def read_folder(path: str) -> list[Classified | Listed | Segmented | Drawn]:
    """What a folder holds, by its layout. Raises UserError if there is no such folder or it has none of them."""
    root = Path(path)
    if not root.is_dir():
        raise UserError(f"--data {path}: there is no such folder")
    found: list[Classified | Listed | Segmented | Drawn] = []
    if years := voc_roots(root):
        for year in years:
            found += [voc_classes(year)] if has_classes(year) else []
            found += [voc_masks(year)] if has_maps(year) else []
        if not found:
            raise UserError(f"{years[0]} holds neither Annotations nor SegmentationClass; unpack them there")
    elif coco_files(root):
        found = [coco_classes(root)]
    elif is_places(root):
        found = [places(root)]
    elif imagenet_pictures(root):
        found = [imagenet(root)]
    elif bsds_folders(root):
        found = [bsds(root)]
    elif has_images_beside_maps(root):
        found = [images_beside_maps(root)]
    else:
        members = class_folders(root)
        if not members.files:
            raise UserError(f"--data {root}: holds nothing to probe on; want {LAYOUTS}")
        found = [members]
    for data in found:
        if not isinstance(data, Segmented | Drawn):
            _check(path, data)
    return found


def _check(path: str, data: Classified | Listed) -> None:
    if len(data.classes) < 2:
        raise UserError(f"--data {path}: holds {len(data.classes)} class, a probe needs two or more")
    for side, rows in (("train", data.test is None or ~data.test), ("test", data.test is None or data.test)):
        chosen = np.broadcast_to(rows, len(data.files))
        shown = chosen if isinstance(data, Listed) else (data.truth[torch.from_numpy(chosen.copy())] > 0)
        if not bool(shown.any()):
            raise UserError(f"--data {path}: its {side} part shows none of its classes")


def read_images(files: Sequence[Path], size: int) -> Tensor:
    """The largest centred square of each image, uint8 sRGB (n, 3, size, size); see `read_image`."""
    with ThreadPoolExecutor(READERS) as pool:
        return torch.from_numpy(np.stack(list(pool.map(lambda file: read_image(file, size), files))))


def read_maps(data: Segmented, size: int, void: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Class ids (n, 1, size, size) float32, by nearest pixel, and weights (n, size, size): 0 where void, else 1.

    Raises UserError, naming the file, for a map that can't be read, holds colours, or has another size than
    its image.
    """
    with ThreadPoolExecutor(READERS) as pool:
        pairs = zip(data.files, data.maps, strict=True)
        ids = torch.from_numpy(
            np.stack(list(pool.map(lambda pair: _read_map(pair[0], pair[1], size), pairs)))
        )
    weight = ~torch.isin(ids, torch.tensor(list(void), dtype=ids.dtype))
    return torch.where(weight, ids, 0)[:, None].float(), weight.float()


def _read_map(image: Path, file: Path, size: int) -> NDArray[np.int32]:
    try:
        data = read_bytes(str(file))
        with Image.open(io.BytesIO(data)) as opened:
            ids = np.asarray(opened)
        with Image.open(image) as opened:
            shape = opened.size[::-1]
    except (SourceError, OSError) as error:
        raise UserError(f"{file} {why(error)}; take it away or mend it") from error
    if ids.ndim != 2 or ids.dtype.kind not in "iub":
        raise UserError(f"{file} holds colours; a label map holds a class id a pixel (greyscale or palette)")
    if ids.shape != shape:
        raise UserError(
            f"{file} has {ids.shape[1]} × {ids.shape[0]} pixels, its image {shape[1]} × {shape[0]}"
        )
    view = Resampler(centre_view(*ids.shape, size), ids.shape)
    return np.asarray(view.map("semantic", ids[None])[0], np.int32)


def read_drawings(data: Drawn, size: int) -> tuple[NDArray[np.bool_], ...]:
    """Each person's boundaries (people, size, size) of each image, as its pixels see them, one pixel wide.

    Raises UserError, naming the file, for drawings that can't be read or of another size than their image.
    """
    with ThreadPoolExecutor(READERS) as pool:
        return tuple(
            pool.map(
                lambda pair: _read_drawing(pair[0], pair[1], size),
                zip(data.files, data.drawings, strict=True),
            )
        )


def _read_drawing(image: Path, file: Path, size: int) -> NDArray[np.bool_]:
    people = boundaries(file)
    with Image.open(image) as opened:
        shape = opened.size[::-1]
    if people.shape[1:] != shape:
        raise UserError(
            f"{file} has {people.shape[2]} × {people.shape[1]} pixels, its image {shape[1]} × {shape[0]}"
        )
    view = Resampler(centre_view(*shape, size), shape)
    drawn = []
    for person in people:
        view.follow_lines(person[None].astype(np.float32))
        drawn.append(skeletonize(view.map("edges", person[None])[0]))
    return np.stack(drawn)
