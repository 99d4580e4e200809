"""Do renders look like photos: how well a fresh linear probe on frozen random features tells them apart.

    python -m benchmarks.realism                                  # fresh renders, photos that scikit-image has
    python -m benchmarks.realism --photos DIR                     # photos of yours
    python -m benchmarks.realism --photos DIR --renders DIR       # and pictures rendered before
    python -m benchmarks.realism --runs RUN …                     # features of trained runs instead of random ones

Random features see colours, contrasts, edges and textures and know nothing else, so that no training can hide what
differs; --runs asks trained trunks too. 50 % is what can't be told apart. Both kinds are cut square,
shrunk and compressed in the same way. Half of the pictures train the probe and half test it, five times over; a
photo's crops stay together.

Cost: about three CPU minutes, most of it rendering.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import timm
import torch
from numpy.typing import NDArray
from skimage import data

from benchmarks.tools.command import on_one_thread, run
from freelabels.ground.errors import UserError
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.render import find_scene, render_clip
from freelabels.renderers.scene.assets import library
from freelabels.train.export import trained_backbone

SIDE = 96  # pixels that the net sees
RENDERED = 256  # pixels of a render's side
OWN = ("astronaut", "chelsea", "coffee", "rocket")
SUFFIXES = (".jpg", ".jpeg", ".png")
SPLITS = 5
RIDGE = 30.0

Picture = NDArray[np.uint8]
Net = Callable[[torch.Tensor], Sequence[torch.Tensor]]  # uint8 (N, 3, H, W) → a map a stage


def realism(
    photos: Path | None = None,
    renders: Path | None = None,
    runs: tuple[str, ...] = (),
    count: int = 160,
    nets: int = 3,
    seed: int = 77,
) -> None:
    """How often the probe is right, mean and spread over nets and splits; by sort of place where it is known.

    Args:
        photos: A folder of photos; without it those of scikit-image, cut into pieces.
        renders: A folder of rendered pictures, family-….png; without it they are rendered.
        runs: Folders of runs whose trunks are the nets; without them nets are random.
        count: How many of each kind.
        nets: How many random nets.
        seed: Of renders and choices.
    """
    if min(count, nets) < 1:
        raise UserError("--count and --nets must be at least 1")
    trunks: Sequence[Net] = [trained_backbone(run)[0] for run in runs] or [
        _random(net) for net in range(nets)
    ]
    real, whose = _photos(photos, count, seed)
    made, families = _read(renders, count, seed) if renders is not None else _rendered(count, seed)
    pictures = [_alike(picture) for picture in (*real, *made)]
    features = [_features(pictures, trunk) for trunk in trunks]
    print(f"{len(real)} photos, {len(made)} renders; 50 % can't be told apart")
    for family in ("all", *sorted(set(families))):
        chosen = [k for k, name in enumerate(families) if family in ("all", name)]
        rows = [*range(len(real)), *(len(real) + k for k in chosen)]
        groups = [*whose, *(len(real) + k for k in chosen)]
        scores = [_told_apart(net[rows], len(real), np.array(groups), seed) for net in features]
        print(f"  {family:10s} {100 * np.mean(scores):.1f} ± {100 * np.std(scores):.1f} % right")


def _photos(folder: Path | None, count: int, seed: int) -> tuple[list[Picture], list[int]]:
    """Photos, and which of them belong to one another."""
    if folder is not None:
        found, _ = _read(folder, count, seed)
        return found, list(range(len(found)))
    rng = np.random.default_rng(seed)
    cuts, whose = [], []
    for k in range(count):
        photo = getattr(data, OWN[k % len(OWN)])()[..., :3]
        side = int(rng.integers(140, 260))
        row, column = (int(rng.integers(0, length - side + 1)) for length in photo.shape[:2])
        cuts.append(np.ascontiguousarray(photo[row : row + side, column : column + side]))
        whose.append(k % len(OWN))
    return cuts, whose


def _read(folder: Path, count: int, seed: int) -> tuple[list[Picture], list[str]]:
    """So many pictures under a folder, and what their names begin with."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if len(paths) < 4:
        raise UserError(f"{folder}: holds {len(paths)} pictures, at least 4 are needed")
    chosen = np.random.default_rng(seed).permutation(len(paths))[:count]
    read = [(cv2.imread(str(paths[k]), cv2.IMREAD_COLOR), paths[k].name.partition("-")[0]) for k in chosen]
    good = [(np.ascontiguousarray(picture[..., ::-1]), name) for picture, name in read if picture is not None]
    return [np.asarray(picture, np.uint8) for picture, _ in good], [name for _, name in good]


def _rendered(count: int, seed: int) -> tuple[list[Picture], list[str]]:
    assets, made, families = library(), [], []
    for clip in range(count):
        scene, motion = find_scene(seed, clip, SceneRanges(), assets, 1, RENDERED)
        made.append(render_clip(scene, assets, 1, RENDERED, simulation=motion).columns["image"][0])
        families.append(scene.family)
    return made, families


def _alike(picture: Picture) -> Picture:
    """The middle square, shrunk and compressed as every other."""
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    small = cv2.resize(
        picture[top : top + side, left : left + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA
    )
    _, code = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)


def _random(seed: int) -> Net:
    torch.manual_seed(seed)
    net = timm.create_model("resnet18", pretrained=False, features_only=True).train()  # its norms measure all
    return lambda images: list(net(images.float() / 255))


def _features(pictures: Sequence[Picture], net: Net) -> NDArray[np.float64]:
    """(N, C) means and deviations over the picture of what a net sees at each of its stages."""
    batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    with torch.no_grad():
        stages = net(batch)
    seen = [part for stage in stages for part in (stage.mean((2, 3)), stage.std((2, 3)))]
    return np.asarray(torch.cat(seen, 1).double())


def _told_apart(
    features: NDArray[np.float64], photos: int, groups: NDArray[np.int64], seed: int
) -> list[float]:
    """How often a ridge classifier is right about groups it has not seen, both kinds counting alike."""
    truth = np.where(np.arange(len(features)) < photos, -1.0, 1.0)
    rng = np.random.default_rng(seed)
    scores = []
    for _ in range(SPLITS):
        trained = np.zeros(len(features), bool)
        for kind in (-1.0, 1.0):  # half of the groups of each kind
            names = rng.permutation(np.unique(groups[truth == kind]))
            trained |= np.isin(groups, names[: len(names) // 2]) & (truth == kind)
        middle, spread = features[trained].mean(0), features[trained].std(0) + 1e-9
        x = np.concatenate([(features - middle) / spread, np.ones((len(features), 1))], axis=1)
        weight = np.where(truth > 0, 1 / (truth[trained] > 0).sum(), 1 / (truth[trained] < 0).sum())[trained]
        left = x[trained] * weight[:, None] * trained.sum() / 2
        gain = np.linalg.solve(left.T @ x[trained] + RIDGE * np.eye(x.shape[1]), left.T @ truth[trained])
        right = np.sign(x @ gain) == truth
        scores.append(float(np.mean([right[~trained & (truth == kind)].mean() for kind in (-1.0, 1.0)])))
    return scores


if __name__ == "__main__":
    on_one_thread()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    run(realism, __doc__)
