"""The right view of a stereo pair, as it was matched: stored beside the frames for what learns from both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from freelabels.generators.contract.clip import STEREO, Clip
from freelabels.generators.contract.detector import register
from freelabels.generators.contract.fields import Array, as_stored


@register
@dataclass(frozen=True)
class RightView:
    """The rectified right view, scaled and cropped as the left one.

    Where the views' principal points differ it is moved by whole pixels, so that nothing lies further right than
    in the left one.
    """

    name: ClassVar[str] = "right_view"
    version: ClassVar[int] = 1
    makes: ClassVar[tuple[str, ...]] = ("right",)
    needs: ClassVar[frozenset[str]] = frozenset({STEREO})

    def __call__(self, clip: Clip) -> dict[str, Array]:
        """Label one clip."""
        assert clip.right is not None
        return {"right": as_stored("right", clip.right)}
