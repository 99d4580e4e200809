"""The command: `images`, which may be left out, `video`, `controls`, `aims` or `beside`."""

import sys

from benchmarks.pretexts import __doc__ as about
from benchmarks.pretexts import aims, beside, controls, images, video
from benchmarks.tools.command import Part, run

PARTS: dict[str, tuple[Part, str | None]] = {
    "images": (images.main, about),
    "video": (video.main, video.__doc__),
    "controls": (controls.main, controls.__doc__),
    "aims": (aims.main, aims.__doc__),
    "beside": (beside.main, beside.__doc__),
}

if __name__ == "__main__":
    part, said = PARTS[sys.argv.pop(1) if sys.argv[1:2] and sys.argv[1] in PARTS else "images"]
    run(part, said)
