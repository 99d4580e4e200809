"""The command: `images`, which may be left out, or `video`."""

import sys

from benchmarks.pretexts import __doc__ as about
from benchmarks.pretexts import images, video
from benchmarks.tools.command import run

if __name__ == "__main__":
    part = sys.argv.pop(1) if sys.argv[1:2] in (["images"], ["video"]) else "images"
    if part == "video":
        run(video.main, video.__doc__)
    else:
        run(images.main, about)
