"""Frames of a video are sRGB: whatever matrix, range, primaries and curve its tags, or its size, tell.

Every input is made from one picture by the standards' formulas and must come out as that picture.
"""

import os
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace

from freelabels.pipeline.sources.decode import read
from tests.pipeline.media.test_colour import (
    RGB,
    SRGB_TO_BT2020,
    SRGB_TO_P3,
    Floats,
    hlg,
    light_of,
    picture,
    pq,
)
from tests.pipeline.sources.test_sources import lowest_error, one


def coded_video(
    path: Path, codec: str, rgb: Floats, matrix: Colorspace, tags: tuple[int, int, int], **more: object
) -> Path:
    """Frames of one picture given as numbers 0..1; tags: primaries, transfer, matrix; more: pix_fmt, full."""
    pix_fmt, full = str(more.get("pix_fmt", "yuv420p10le")), bool(more.get("full"))
    with av.open(str(path), "w") as file:
        options = {"libx265": {"x265-params": "lossless=1:log-level=none:pools=1"}, "libsvtav1": {"crf": "5"}}
        stream = file.add_stream(codec, rate=10, options=options.get(codec, {}))
        stream.height, stream.width, stream.pix_fmt = *rgb.shape[:2], pix_fmt
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = tags
        context.color_range = 2 if full else 1
        for _ in range(4):
            deep = av.VideoFrame.from_ndarray(
                np.rint(np.clip(rgb, 0, 1) * 65535).astype(np.uint16), format="rgb48le"
            )
            frame = deep.reformat(format=pix_fmt, dst_colorspace=matrix, dst_color_range=2 if full else 1)
            frame.color_primaries, frame.color_trc, frame.colorspace = tags
            frame.pts = None
            for packet in stream.encode(frame):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    if codec == "libsvtav1" and hasattr(os, "sched_setscheduler"):
        # SVT-AV1 makes a real-time thread of the one that encodes, if it may: all later tests would go first.
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return path


def shown(path: Path) -> tuple[RGB, str, str]:
    (spec,) = one(str(path)).clips
    return read(spec, (96, 128)).image[1], spec.colour, spec.note


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx265"), ("mkv", "ffv1"), ("webm", "libsvtav1")])
@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_video_looks_as_its_sdr_twin(tmp_path: Path, suffix: str, codec: str, transfer: int) -> None:
    nits = light_of(picture()) @ SRGB_TO_BT2020.T * 203
    coded = (pq if transfer == 16 else hlg)(nits)
    path = coded_video(tmp_path / f"a.{suffix}", codec, coded, Colorspace.BT2020, (9, transfer, 9))
    image, colour, note = shown(path)
    assert lowest_error(image, picture()) < 7
    assert abs(float(image.std()) - float(picture().std())) < 3
    assert "BT.2020" in colour and "tone-mapped" in colour and "tone-mapped" in note


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p10le", "yuv422p12le"])
def test_wide_video_of_standard_range(tmp_path: Path, pix_fmt: str) -> None:
    light = light_of(picture())
    for number, (matrix, primaries) in enumerate(((SRGB_TO_BT2020, 9), (SRGB_TO_P3, 12))):
        code = np.maximum(light @ matrix.T, 0)
        code = np.where(code <= 0.0031308, code * 12.92, 1.055 * code ** (1 / 2.4) - 0.055)
        tags = (primaries, 14 if primaries == 9 else 1, 9 if primaries == 9 else 1)
        space = Colorspace.BT2020 if primaries == 9 else Colorspace.ITU709
        image, _, note = shown(
            coded_video(tmp_path / f"{number}.mkv", "ffv1", code, space, tags, pix_fmt=pix_fmt)
        )
        assert lowest_error(image, picture()) < 7 and note == ""


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("matrix", "code"), [(Colorspace.ITU709, 1), (Colorspace.ITU601, 5), (Colorspace.BT2020, 9)]
)
def test_matrix_and_range_as_tagged(tmp_path: Path, matrix: Colorspace, code: int, full: bool) -> None:
    tags = (1, 1, code)
    path = coded_video(
        tmp_path / "a.mkv", "ffv1", picture() / 255, matrix, tags, pix_fmt="yuv444p", full=full
    )
    image, colour, _ = shown(path)
    assert lowest_error(image, picture()) < 1.5
    assert ("full range" in colour) == full and "assumed" not in colour


@pytest.mark.slow
@pytest.mark.parametrize(
    ("height", "width", "matrix"),
    [
        (96, 128, "BT.601"),
        (576, 720, "BT.601"),
        (720, 1280, "BT.709"),
        (534, 1280, "BT.709"),
        (1080, 608, "BT.709"),
    ],
)
def test_untagged_video_is_read_by_its_size(tmp_path: Path, height: int, width: int, matrix: str) -> None:
    space = Colorspace.ITU709 if matrix == "BT.709" else Colorspace.ITU601
    true = picture(height, width)
    path = coded_video(tmp_path / "a.mkv", "ffv1", true / 255, space, (2, 2, 2), pix_fmt="yuv444p")
    (spec,) = one(str(path)).clips
    assert lowest_error(read(spec, (height, width)).image[1], true) < 1.5
    assert f"matrix {matrix} (assumed)" in spec.colour


def test_colours_that_cannot_be_converted_are_refused(tmp_path: Path) -> None:
    path = coded_video(tmp_path / "a.mkv", "ffv1", picture() / 255, Colorspace.BT2020, (9, 16, 14))
    found = one(str(path))
    assert not found.clips and "can't be converted (matrix 14)" in found.refusals[0].reason
