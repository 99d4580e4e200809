"""Draws docs/synthetic.png and docs/real.png, the two pictures at the head of the README.

python docs/front_pictures.py; needs PyBullet. Renders, and photos that ship with scikit-image.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
from demo_sources import write_photos, write_stereo

from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.preview import preview
from freelabels.renderers.scene.assets import library

DOCS = Path(__file__).parent
SEED, CLIPS, SIDE = 1, 7, 150


def real(folder: Path) -> None:
    """Photos and a stereo pair with what `label` makes of them."""
    write_photos(folder / "photos")
    write_stereo(folder / "stereo")
    freelabels = (sys.executable, "-m", "freelabels")
    label = (*freelabels, "label", folder / "photos", folder / "stereo", "--out", folder / "real")
    subprocess.run((*label, "--workers", "0"), check=True)
    subprocess.run((*freelabels, "inspect", folder / "real", "--picture", DOCS / "real.png"), check=True)


def main() -> None:
    """Draw both."""
    sheet = preview(SEED, SceneRanges(), library(), CLIPS, SIDE)
    cv2.imwrite(str(DOCS / "synthetic.png"), sheet[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    with tempfile.TemporaryDirectory() as folder:
        real(Path(folder))


if __name__ == "__main__":
    main()
