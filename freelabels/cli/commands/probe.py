"""`freelabels probe`: what a run's features are worth on other tasks."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional

import freelabels
from freelabels.cli.shell.options import FLAT
from freelabels.cli.shell.terminal import DONE, reporter, say
from freelabels.train.config import ProbeConfig

DEFAULTS = ProbeConfig()


def probe(
    run: Positional[str],
    /,
    *,
    data: tuple[str, ...] = (),
    out: str | None = None,
    config: Annotated[ProbeConfig, FLAT] = DEFAULTS,
) -> int:
    """Score a run's features per stage on other tasks, beside random weights and the rotation pretext.

    Args:
        run: Folder of a run.
        data: Image folders (a folder a class), ImageNet, Places205, Places365, VOC or COCO as they come, datasets
            of labels; UCF101, HMDB51, Kinetics, or videos (a folder a class). Boxes have an option of their own,
            --detection.
        out: Where probe.json, probe.md and probe.png go; default the run's folder.
        config: How the features are probed.
    """
    from freelabels.train.probing.probe_report import markdown

    say(markdown(freelabels.probe(run, data, out, config, reporter().say)))
    return DONE
