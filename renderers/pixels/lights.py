"""Lights as surfaces see them: where they stand, how much they give, how a surface returns it."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.geometry import Floats
from freelabels.generators.contract.products import times
from freelabels.renderers.surfaces.appearance import Light, Vector
from freelabels.renderers.surfaces.surface_points import dot


def light_rays(light: Light, points: Floats, disc: Floats | None = None) -> tuple[Floats, float]:
    """Rays from points (N, 3), world metres, to a light: directions (N, 3) and how far along them it is.

    disc: (N, 2) places on the light's face, in its unit disc; None for its centre. The light is hidden from a
    point if anything lies on the ray before the returned length (in lengths of the direction, as
    ``raycast.occluded`` takes it).
    """
    place = np.asarray(light.place, np.float32)
    face = _face(light.facing if light.kind == "panel" else light.place)
    target = place if disc is None else place + times(disc, face * np.float32(light.size))
    if light.kind == "sun":
        return np.broadcast_to(target, points.shape), np.inf
    return target - points, 1.0


@lru_cache(maxsize=64)
def _face(direction: Vector) -> Floats:
    """Two unit vectors (2, 3) across a direction."""
    axis = _unit(np.asarray(direction))
    first = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    first = _unit(first)
    return np.stack([first, np.cross(axis, first)]).astype(np.float32)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / np.sqrt((vector * vector).sum()))


def arriving(light: Light, points: Floats) -> tuple[Floats, Floats, Floats]:
    """Unoccluded light at points (N, 3): unit directions towards it, irradiance (N, 3) facing it, apparent size.

    The apparent size (N,) is the sine of the angular radius.
    """
    place = np.asarray(light.place, np.float32)
    given = np.asarray(light.irradiance, np.float32)
    if light.kind == "sun":
        count = len(points)
        return (
            np.broadcast_to(place, points.shape),
            np.broadcast_to(given, points.shape),
            np.full(count, np.sin(light.size), np.float32),
        )
    towards = place - points
    square = np.maximum(dot(towards, towards), np.float32(light.size**2))
    distance = np.sqrt(square)
    fall = np.float32((place * place).sum()) / square
    if light.kind == "panel":
        shines = np.asarray(light.facing, np.float32)
        straight = max(-float((shines * place).sum() / np.sqrt((place * place).sum())), 0.2)
        ahead: Floats = dot(towards, np.broadcast_to(-shines, towards.shape))
        fall *= np.maximum(ahead / distance, 0) / np.float32(straight)
    return towards / distance[:, None], (given[:, None] * fall).T, np.float32(light.size) / distance


def disc_sample(number: int | NDArray[np.integer], count: int, turn: Floats) -> Floats:
    """Point `number` of `count` (N, 2) that cover the unit disc evenly; turn: (N,) in [0, 1) sets them apart."""
    if not len(turn):
        return np.zeros((0, 2), np.float32)
    ring = np.asarray(number, np.float32)
    radius = np.sqrt((ring + turn * np.float32(0.9) + np.float32(0.05)) / np.float32(count))
    angle = np.float32(2 * np.pi) * (ring * np.float32(0.6180340) + turn)
    across, up = cv2.polarToCart(radius, angle)
    return np.asarray(np.stack([across.reshape(-1), up.reshape(-1)]), np.float32).T


def reflected(
    normal: Floats, viewer: Floats, light: Floats, roughness: Floats, specular: Floats
) -> tuple[Floats, Floats, Floats]:
    """How a surface returns light to the viewer: cosine (N,), Fresnel reflectance (N, 3), lobe (N,).

    normal, viewer, light: (N, 3) unit. roughness: (N,). specular: (N, 3) reflectance at normal incidence. The
    radiance is ``irradiance * cosine * (albedo / π * (1 - fresnel) + fresnel * lobe)``: GGX with the
    Smith–Schlick shadowing of Karis, "Real Shading in Unreal Engine 4" (SIGGRAPH 2013 course).
    """
    half = light + viewer
    half /= np.sqrt(np.maximum(dot(half, half), np.float32(1e-12)))[:, None]
    facing_light = np.maximum(dot(normal, light), 0)
    facing_viewer = np.maximum(dot(normal, viewer), np.float32(1e-3))
    facing_half = np.clip(dot(normal, half), 0, 1)
    grazing = 1 - np.clip(dot(viewer, half), 0, 1)
    alpha2 = np.square(np.square(roughness))
    k = (roughness + 1) ** 2 / 8
    spread = facing_half * facing_half * (alpha2 - 1) + 1
    lobe = alpha2 / (np.float32(4 * np.pi) * spread * spread)
    lobe /= (facing_light * (1 - k) + k) * (facing_viewer * (1 - k) + k)
    square = grazing * grazing
    fresnel = grown(specular, roughness, square * square * grazing)
    return facing_light, fresnel, lobe


def grown(specular: Floats, roughness: Floats, grazing5: Floats) -> Floats:
    """Fresnel reflectance (N, 3) where 1 − cosine to the fifth power is `grazing5` (N,).

    Schlick's approximation, its grazing limit lowered on rough surfaces (after Lagarde 2011), which in truth
    shadow themselves there.
    """
    limit = ((1 - roughness) ** 2)[:, None]
    return np.asarray(specular + np.maximum(limit - specular, 0) * grazing5[:, None])
