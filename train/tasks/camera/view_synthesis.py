"""What the three systems that learn depth and the camera from frames alone have in common."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from freelabels.train.data.loader import Batch
from freelabels.train.model.network import resize
from freelabels.train.tasks.contract.task import everyone
from freelabels.train.tasks.contract.views import by_view
from freelabels.train.tasks.geometry.likeness import photometric
from freelabels.train.tasks.geometry.poses import filled, inverse, known
from freelabels.train.tasks.geometry.smoothness import first_order, relative
from freelabels.train.tasks.geometry.truth import Truth
from freelabels.train.tasks.geometry.warp import rigid_flow, warp

NEAR, FAR = 0.1, 100.0  # depths, of whatever unit
SCALES = (1, 2)  # how many times smaller images are compared besides
MIDDLE, AROUND = 1, (0, 2)  # of three frames: the one that is rebuilt, and those that it is rebuilt from


@dataclass(frozen=True)
class Window:
    """Three frames (B, 3, 3, H, W), 0 … 255, and the middle one's intrinsics (B, 3, 3).

    Exact labels of the middle frame, where the data have them: depth, and flow to the next, if that is the clip's
    next frame too. motion: (B, 4, 4), of points in its axes → in the next frame's; moved: (B,), whether that is
    known and not no translation at all.
    """

    frames: Tensor
    K: Tensor
    depth: Truth
    flow: Truth
    motion: Tensor
    moved: Tensor

    @staticmethod
    def of(batch: Batch) -> Window:
        """From a batch whose windows have three frames or more."""
        motion = torch.eye(4, device=batch["image"].device).expand(len(batch["seed"]), 4, 4)
        there = torch.zeros(len(motion), dtype=torch.bool, device=motion.device)
        if "camera_pose" in batch:
            pose = batch["camera_pose"].double()
            here, after = filled(pose[:, MIDDLE]), filled(pose[:, MIDDLE + 1])
            motion = (inverse(after) @ here).float()
            both = known(pose[:, MIDDLE]) & known(pose[:, MIDDLE + 1])
            there = both & (motion[:, :3, 3].norm(dim=1) > 1e-4)
        flow = Truth.of(batch, "flow", MIDDLE)
        return Window(
            batch["image"][:, :3].float(),
            filled(batch["camera_K"][:, MIDDLE]).float(),
            Truth.of(batch, "depth", MIDDLE),
            Truth(flow.values, flow.weight * (steps(batch) == 1)[:, None, None]),
            motion,
            there.double(),
        )


def parallax(window: Window) -> Tensor:
    """By how many pixels (B,) the camera's way alone moves what is seen to the next frame, its turn left out.

    The median over exact depths; NaN where depth or the camera's motion is not known, or it goes nowhere.
    """
    turn = window.motion.clone()
    turn[:, :3, 3] = 0
    far, near = (rigid_flow(window.depth.values, motion, window.K) for motion in (turn, window.motion))
    length = torch.where(window.depth.weight > 0, (near - far).norm(dim=1), torch.nan)
    return torch.where(window.moved > 0, length.flatten(1).nanmedian(1).values, torch.nan)


def steps(batch: Batch) -> Tensor:
    """By how many of the clip's frames the window's lie apart, (B,)."""
    return batch["step"] if "step" in batch else torch.ones_like(batch["seed"])


def moving(batch: Batch, least: float) -> Tensor:
    """Weights (B,): 0 for windows whose camera is not known to be a pinhole, and for those that hardly move.

    What a lens or a rolling shutter bends a pinhole's flow can't rebuild.

    least: pixels of the median flow to the next frame of the window, taken to be as many times that to the clip's
    next frame as they lie apart. Where none is stored, nothing is left out.
    """
    flow = Truth.of(batch, "flow", MIDDLE)
    length = torch.where(flow.weight > 0, flow.values.norm(dim=1), torch.nan)
    speed = length.flatten(1).nanmedian(1).values * steps(batch)
    usable = known(batch["camera_K"][:, MIDDLE]) & ~(speed < least)
    if "camera_distortion" in batch:
        usable = usable & ~(batch["camera_distortion"][:, MIDDLE].abs() > 0).any(1)  # NaN: none known
    if "camera_shutter" in batch:
        usable = usable & ~(batch["camera_shutter"][:, MIDDLE, 1] > 0)
    return everyone(batch) * usable


def inverse_depth(raw: Tensor) -> Tensor:
    """Inverse depths between 1 / FAR and 1 / NEAR of a head's numbers."""
    return 1 / FAR + (1 / NEAR - 1 / FAR) * torch.sigmoid(raw)


def rebuilt(window: Window, inverse: Tensor, motions: Tensor, smooth: float) -> Tensor:
    """(B,): how unlike the middle frame its neighbours are, looked up by depth and the camera's motion.

    inverse: inverse depths (B, 1, H, W). motions: (B, 2, 4, 4), to each neighbour. At each pixel the likelier
    neighbour counts, since one may show what the other doesn't (Godard et al., Digging into self-supervised
    monocular depth estimation, 2019). Their comparison with no motion at all is left out: from a random start
    hardly a pixel is likelier than without, and what doesn't count doesn't learn; still windows weigh nothing.
    """
    total = smooth * first_order(relative(inverse), window.frames[:, MIDDLE])
    for scale in SCALES:
        size = (inverse.shape[-2] // scale, inverse.shape[-1] // scale)
        frames = by_view(_smaller(window.frames.flatten(0, 1), size), 3)
        K = torch.diag(window.K.new_tensor([1 / scale, 1 / scale, 1.0])) @ window.K
        depth, target = 1 / resize(inverse, size), frames[:, MIDDLE]
        gaps = [
            photometric(target, warp(frames[:, other], rigid_flow(depth, motions[:, k], K)))
            for k, other in enumerate(AROUND)
        ]
        total = total + torch.cat(gaps, 1).amin(1).mean((1, 2)) / len(SCALES)
    return total


def _smaller(images: Tensor, size: tuple[int, int]) -> Tensor:
    return images if images.shape[-2:] == size else F.interpolate(images, size, mode="area")
