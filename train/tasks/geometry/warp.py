"""Looking up in another image what the pixels of this one show: by flow, or by depth and the camera's motion."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NEAREST = 1e-3  # of a point in front of a camera, in the depth's unit


def centres(like: Tensor) -> Tensor:
    """Image coordinates (2, H, W), (x, y), of the pixel centres of maps (…, H, W)."""
    height, width = like.shape[-2:]
    y, x = (torch.arange(n, device=like.device, dtype=torch.float32) + 0.5 for n in (height, width))
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)])


def sample(image: Tensor, at: Tensor) -> Tensor:
    """Maps (N, C, h, w) looked up at image coordinates (N, 2, H, W), bilinear; outside, the border."""
    size = at.new_tensor([image.shape[-1], image.shape[-2]])
    grid = (2 * at.permute(0, 2, 3, 1) / size - 1).clamp(-2, 2)  # a far coordinate must not become infinite
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Values of another image (N, C, H, W) where a flow (N, 2, H, W) in pixels leads from this one."""
    return sample(image, centres(flow) + flow)


def inside(at: Tensor) -> Tensor:
    """Whether (N, 1, H, W) image coordinates (N, 2, H, W) lie in an image of that size."""
    size = at.new_tensor([at.shape[-1], at.shape[-2]])[:, None, None]
    return ((at >= 0) & (at <= size)).all(1, keepdim=True)


def rays(K: Tensor, like: Tensor) -> Tensor:
    """Directions (N, 3, H, W) with z = 1 through the pixel centres of maps (…, H, W), intrinsics K (N, 3, 3)."""
    place = centres(like)
    homogeneous = torch.cat([place, torch.ones_like(place[:1])]).flatten(1)  # (3, H W)
    out: Tensor = torch.linalg.inv(K.float()) @ homogeneous
    return out.view(len(K), 3, *place.shape[1:])


def project(points: Tensor, K: Tensor) -> Tensor:
    """Image coordinates (N, 2, H, W) of points (N, 3, H, W) in camera axes; those behind are put just in front."""
    seen = (K.float() @ points.flatten(2)).view_as(points)
    return seen[:, :2] / seen[:, 2:].clamp_min(NEAREST)


def rigid_flow(depth: Tensor, motion: Tensor, K: Tensor, K_there: Tensor | None = None) -> Tensor:
    """Flow (N, 2, H, W) in pixels to another view of what stands still.

    depth: z-depths (N, 1, H, W). motion: (N, 4, 4), points in this camera's axes → in the other's. K, K_there:
    intrinsics (N, 3, 3) here and there, by default the same.
    """
    points = depth * rays(K, depth)
    moved = motion[:, :3, :3] @ points.flatten(2) + motion[:, :3, 3:]
    return project(moved.view_as(points), K if K_there is None else K_there) - centres(depth)
