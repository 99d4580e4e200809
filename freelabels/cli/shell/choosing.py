"""Options that say which clips of a dataset are meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freelabels.pipeline.curate.selection import Selection


@dataclass(frozen=True)
class Which:
    """Which clips are meant; default all."""

    clips: tuple[str, ...] = ()
    """Names: keys, content hashes, or paths or file names of sources."""
    listed: str | None = None
    """A file with a name a line, or a list as freelabels inspect saves it."""
    where: str = ""
    """A condition, such as 'depth.coverage > .5 and kind == "video"'; docs/curating.md has the language."""
    only: str = ""
    """Those of a split: train, val or test."""
    invert: bool = False
    """All others."""

    @property
    def selection(self) -> Selection:
        """As the stages take it. Raises UserError."""
        from freelabels.pipeline.curate.selection import Selection

        return Selection.of(self.clips, self.listed, self.where, self.only, self.invert)


ALL = Which()
