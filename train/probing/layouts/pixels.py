"""The pixels of a picture that a layout names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from freelabels.ground.errors import UserError
from freelabels.pipeline.media.images import decode
from freelabels.pipeline.storage.uris import SourceError, read_bytes, why
from freelabels.train.data.augment import Resampler, centre_view

READERS = 4  # threads that decode images


def read_image(file: Path, size: int) -> NDArray[np.uint8]:
    """The largest centred square, uint8 sRGB (3, size, size), resized as training frames are.

    Raises UserError, naming the file, for an image that can't be read.
    """
    try:
        picture = decode(read_bytes(str(file)), (size, size))
    except (SourceError, OSError) as error:
        raise UserError(f"{file} {why(error)}; take it away or mend it") from error
    height, width = picture.image.shape[:2]
    seen = Resampler(centre_view(height, width, size), (height, width)).image(picture.image[None])
    return np.ascontiguousarray(seen[0].transpose(2, 0, 1))
