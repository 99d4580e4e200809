"""Whatever the decoders of this install read is looked for, by the suffixes that they name themselves."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freelabels.pipeline.media import formats
from freelabels.pipeline.sources.decode import read
from tests.pipeline.sources.test_sources import film, find, one, pan, scene


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["avif", "jp2", "ppm", "tga", "qoi", "heic", "mpo", "jfif"])
def test_pictures_that_pillow_reads(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix.upper()}"
    Image.fromarray(scene(1)).save(path, "HEIF" if suffix == "heic" else None, quality=95)
    (spec,) = one(str(path)).clips
    assert (spec.kind, spec.size) == ("photo", (240, 320))
    assert np.abs(read(spec, (240, 320)).image[0].astype(float) - scene(1)).mean() < 8


@pytest.mark.parametrize(
    ("suffix", "container", "codec"),
    [
        ("MTS", "mpegts", "libx264"),
        ("m2ts", "mpegts", "mpeg2video"),
        ("ts", "mpegts", "libx265"),
        ("VOB", "vob", "mpeg2video"),
        ("mxf", "mxf", "mpeg2video"),
        ("3gp", "3gp", "libx264"),
        ("wmv", "asf", "wmv2"),
        ("flv", "flv", "flv"),
        ("ogv", "ogg", "libvpx"),
        ("dv", "nut", "ffv1"),
        ("y4m", "yuv4mpegpipe", "wrapped_avframe"),
    ],
)
def test_videos_that_ffmpeg_reads(tmp_path: Path, suffix: str, container: str, codec: str) -> None:
    made = film(tmp_path / "made", pan(1, 8), rate=25, codec=codec, format=container)
    path = Path(made).rename(tmp_path / f"00001.{suffix}")
    (spec,) = one(str(path)).clips
    assert (spec.kind, spec.frames) == ("video", 8)
    assert np.abs(read(spec, (96, 128)).image[5].astype(float) - pan(1, 8)[5]).mean() < 16


def test_sound_documents_and_code_are_not_looked_for(tmp_path: Path) -> None:
    for name in (
        "a.mp3",
        "a.m4a",
        "a.wma",
        "a.pdf",
        "a.ico",
        "a.svg",
        "a.srt",
        "a.m3u8",
        "a.py",
        "a.json",
        "a.npy",
    ):
        (tmp_path / name).write_text("?")
    assert find([str(tmp_path)]) == ([], [])


def test_the_package_that_would_read_a_suffix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert formats.missing(".heic") == ""
    monkeypatch.setattr(formats, "IMAGE_SUFFIXES", frozenset({".png"}))
    assert formats.missing(".heic") == "pillow-heif"
    assert formats.missing(".png") == formats.missing(".xyz") == ""
