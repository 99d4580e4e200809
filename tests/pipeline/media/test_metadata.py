"""Metadata can't refuse pixels: what of it can't be read counts as absent. Names of files may hold anything."""

import io
import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from freelabels.cli.main import main
from freelabels.pipeline.media.images import decode
from freelabels.pipeline.shards.dataset import Dataset
from tests.pipeline.sources.test_sources import film, find, one, pan, scene

RGB = NDArray[np.uint8]
EXIF_ON_ITS_SIDE = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(extra: bytes, at_end: bool = False) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(scene(1)).save(stream, "PNG")
    data = stream.getvalue()
    place = len(data) - 12 if at_end else 33
    return data[:place] + extra + data[place:]


HUGE = zlib.compress(bytes(1 << 21))
PNG = {
    "text of a megabyte and more": chunk(b"tEXt", b"parameters\0" + b"a" * 1_400_000),
    "packed text of a megabyte and more": chunk(
        b"zTXt", b"parameters\0\0" + zlib.compress(os.urandom(1_400_000), 0)
    ),
    "text that is a bomb": chunk(b"zTXt", b"bomb\0\0" + HUGE) * 40,
    "international text": chunk(b"iTXt", b"prompt\0\1\0\0\0" + HUGE) * 40,
    "a profile of a megabyte": chunk(b"iCCP", b"icc\0\0" + zlib.compress(os.urandom(1_400_000), 0)),
    "a profile that is a bomb": chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(1 << 26), 1)),
    "a profile that isn't packed": chunk(b"iCCP", b"icc\0\0 not packed"),
    "an empty profile": chunk(b"iCCP", b""),
    "EXIF that isn't": chunk(b"eXIf", b"not a TIFF file"),
    "EXIF cut short": chunk(b"eXIf", EXIF_ON_ITS_SIDE[:12]),
    "EXIF that leads nowhere": chunk(b"eXIf", b"II*\0\xff\xff\xff\x7f"),
    "gamma zero": chunk(b"gAMA", bytes(4)),
    "primaries that are none": chunk(b"cHRM", bytes(32)),
    "short chunks": b"".join(
        chunk(kind, b"\1") for kind in (b"gAMA", b"cHRM", b"pHYs", b"tIME", b"sRGB", b"cICP")
    ),
    "a wrong checksum": chunk(b"tEXt", b"Comment\0hello")[:-4] + b"oops",
    "an unknown chunk": chunk(b"vpAg", b"?" * 1000),
}


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("extra", PNG.values(), ids=PNG)
def test_a_png_gives_its_pixels(extra: bytes, at_end: bool) -> None:
    made = decode(png_with(extra, at_end))
    assert np.array_equal(made.image, scene(1)) and made.focal is None


def test_what_a_png_says_of_its_orientation_is_still_read() -> None:
    turned = np.rot90(scene(1), -1)
    raw = b"\nexif\n" + str(len(EXIF_ON_ITS_SIDE)).rjust(8).encode() + b"\n" + EXIF_ON_ITS_SIDE.hex().encode()
    for extra in (
        chunk(b"eXIf", EXIF_ON_ITS_SIDE),
        chunk(b"tEXt", b"Raw profile type exif\0" + raw),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw)),
        chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<rdf:Description tiff:Orientation="6"/>'),
    ):
        assert np.array_equal(decode(png_with(extra)).image, turned)


def jpeg_with(extra: bytes) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(scene(1)).save(stream, "JPEG", quality=95)
    data = stream.getvalue()
    return data[:20] + extra + data[20:]


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


JPEG = {
    "EXIF that isn't": segment(0xE1, b"Exif\0\0not a TIFF file"),
    "EXIF cut short": segment(0xE1, b"Exif\0\0" + EXIF_ON_ITS_SIDE[:12]),
    "EXIF that leads nowhere": segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f"),
    "a broken profile": segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(500)),
    "a piece of a profile": segment(0xE2, b"ICC_PROFILE\0\2\3" + bytes(500)),
    "a profile without its number": segment(0xE2, b"ICC_PROFILE\0"),
    "a broken multi-picture index": segment(0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff"),
    "broken Photoshop resources": segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0\xff\xff\xff\xff??"),
    "a broken Adobe segment": segment(0xEE, b"Adobe"),
    "XMP that isn't": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta" + bytes(range(256))),
    "a comment of 64 KB": segment(0xFE, os.urandom(65_000)),
}


@pytest.mark.parametrize("extra", JPEG.values(), ids=JPEG)
def test_a_jpeg_gives_its_pixels(extra: bytes) -> None:
    made, plain = decode(jpeg_with(extra)), decode(jpeg_with(b""))
    assert np.array_equal(made.image, plain.image)


@pytest.mark.parametrize("form", ["TIFF", "WEBP", "AVIF"])
def test_other_formats_with_broken_exif_and_profiles(form: str) -> None:
    broken = {"icc_profile": os.urandom(2000)} | ({} if form != "WEBP" else {"exif": b"Exif\0\0broken"})
    plain, stream = io.BytesIO(), io.BytesIO()
    Image.fromarray(scene(1)).save(plain, form, lossless=True)
    Image.fromarray(scene(1)).save(stream, form, lossless=True, **broken)
    assert np.array_equal(decode(stream.getvalue()).image, decode(plain.getvalue()).image)


# Names


NAMES = (
    "n" * 251,
    "ф" * 125,
    """it's "quoted" & `ticked` $(HOME) %s {0} \\n""",
    "<script>alert(1)</script>".replace("/", "∕"),
    "two\nlines\r\tand tabs",
    "照片 写真 사진 صورة תמונה 🎞",
    " leading and trailing ",
    "-rf",
    "a:b;c|d?e*[f]",
    "%03d",
    "\udcff\udcfe not Unicode",
    "\x1b[31mred\x07",
)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "mp4", "gif"])
def test_names_may_hold_anything(tmp_path: Path, suffix: str) -> None:
    made = tmp_path / f"made.{suffix}"
    if suffix == "mp4":
        film(made, pan(1, 6))
    else:
        first, *rest = [Image.fromarray(picture) for picture in pan(1, 6 if suffix == "gif" else 1)]
        first.save(made, **({"save_all": True, "append_images": rest} if rest else {}))
    data = made.read_bytes()
    made.unlink()
    for name in NAMES:
        path = tmp_path / f"{name}.{suffix}"
        path.write_bytes(data)
        found = one(str(path))
        assert not found.refusals and [clip.frames for clip in found.clips] == [1 if suffix == "png" else 6]
        path.unlink()


def test_labelled_and_refused_by_such_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        Image.fromarray(scene(number, 64, 96)).save(folder / f"{name}.png")
        (folder / f"{name}.jpg").write_text("no picture")
    assert len(find([str(folder)])[0]) == 2 * len(NAMES)
    with pytest.raises(SystemExit) as end:
        main(
            ["label", str(folder), "--out", str(out), "--workers", "0", "--size", "32", "--labels", "regions"]
        )
    assert end.value.code == 0
    dataset = Dataset(out)
    sources = {Path(clip["source"][0]).stem for name in dataset.shards() for clip in dataset.open(name).clips}
    assert sources == {name.encode("utf-8", "backslashreplace").decode() for name in NAMES}
    lines = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    assert {Path(line["uri"]).stem for line in lines} == set(NAMES)
    with pytest.raises(SystemExit):
        main(["label", str(folder), "--out", str(tmp_path / "no"), "--workers", "0", "--strict"])
    said = capsys.readouterr()
    assert "--strict is given" in said.err and "\x1b" not in said.err + said.out
