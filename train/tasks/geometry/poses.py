"""Motions of a camera: matrices (…, 4, 4) and the six numbers that say them."""

from __future__ import annotations

import torch
from torch import Tensor


def motion_of(numbers: Tensor) -> Tensor:
    """Rigid motions (N, 4, 4) of rotation vectors in radians and translations (N, 6)."""
    x, y, z = numbers[:, :3].unbind(1)
    zero = torch.zeros_like(x)
    twist = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).view(-1, 3, 3)
    top = torch.cat([torch.linalg.matrix_exp(twist), numbers[:, 3:, None]], 2)
    bottom = numbers.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(numbers), 1, 4)
    return torch.cat([top, bottom], 1)


def numbers_of(motion: Tensor) -> Tensor:
    """The rotation vector in radians, below half a turn, and the translation (N, 6) of motions (N, 4, 4)."""
    R = motion[:, :3, :3]
    twist = torch.stack([R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]], 1) / 2
    sine = twist.norm(dim=1, keepdim=True)
    cosine = (R.diagonal(dim1=1, dim2=2).sum(1, keepdim=True) - 1) / 2
    angle = torch.atan2(sine, cosine)
    vector = torch.where(sine > 1e-9, twist * angle / sine.clamp_min(1e-9), twist)
    return torch.cat([vector, motion[:, :3, 3]], dim=1)


def inverse(motion: Tensor) -> Tensor:
    """The motions (…, 4, 4) back."""
    turn = motion[..., :3, :3].transpose(-1, -2)
    top = torch.cat([turn, -turn @ motion[..., :3, 3:]], -1)
    return torch.cat([top, motion[..., 3:, :]], -2)


def known(pose: Tensor) -> Tensor:
    """Which (…) poses (…, 4, 4), or intrinsics (…, 3, 3), are known."""
    return torch.isfinite(pose).flatten(-2).all(-1)


def filled(pose: Tensor) -> Tensor:
    """Poses, or intrinsics, where unknown ones are the identity, so that they can be reckoned with."""
    eye = torch.eye(pose.shape[-1], dtype=pose.dtype, device=pose.device)
    return torch.where(known(pose)[..., None, None], pose, eye)


def angle_between(a: Tensor, b: Tensor) -> Tensor:
    """Degrees (N,) between vectors (N, 3); 90 where one of them is zero."""
    cross, dot = torch.linalg.cross(a, b).norm(dim=1), (a * b).sum(1)
    return torch.rad2deg(torch.where((cross == 0) & (dot == 0), torch.pi / 2, torch.atan2(cross, dot)))
