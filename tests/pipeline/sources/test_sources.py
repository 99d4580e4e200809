"""Sources: what the user named becomes clips, or a sentence that says why not."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import pickle
import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import fsspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from freelabels.generators.contract.clip import BASELINE, CONSECUTIVE, INTRINSICS, SENSOR_DEPTH, STEREO
from freelabels.generators.contract.geometry import intrinsics
from freelabels.pipeline.media import images
from freelabels.pipeline.media.cuts import CutFinder, match, thumb
from freelabels.pipeline.media.videos import DecodedFrame, opened
from freelabels.pipeline.sources import find as sources
from freelabels.pipeline.sources.clip_specs import ClipSpec, SourceOptions
from freelabels.pipeline.sources.decode import crop_resize, read, window
from freelabels.pipeline.sources.examine import Examined, examine
from freelabels.pipeline.sources.find import Item, Refusal
from freelabels.pipeline.sources.sampling import parts_of, sample

RGB = NDArray[np.uint8]
EVERY = SourceOptions(fps=None)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    cv2.setNumThreads(1)


# Material


def scene(seed: int, height: int = 240, width: int = 320) -> RGB:
    """A textured picture unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    coarse = [rng.integers(0, 256, (size, size * 4 // 3, 3), dtype=np.uint8) for size in (3, 12, 48)]
    layers = [cv2.resize(c, (width, height), interpolation=cv2.INTER_CUBIC).astype(float) for c in coarse]
    return np.asarray((0.5 * layers[0] + 0.3 * layers[1] + 0.2 * layers[2]).clip(0, 255).astype(np.uint8))


def pan(seed: int, count: int, step: int = 3, height: int = 96, width: int = 128) -> list[RGB]:
    """A camera that turns over one picture."""
    wide = scene(seed, height, width + step * count)
    return [wide[:, k * step : k * step + width] for k in range(count)]


def save(path: Path, image: RGB, **options: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return str(path)


def film(
    path: Path,
    pictures: list[RGB],
    rate: int = 30,
    codec: str = "libx264",
    stamps: list[int] | None = None,
    turn: int = 0,
    format: str | None = None,
    **options: str,
) -> str:
    """A video of `pictures`; stamps: time stamps in milliseconds instead of a constant rate."""
    with av.open(str(path), "w", format=format) as file:
        stream = file.add_stream(
            codec,
            rate=rate,
            options={k.replace("_", "-") if k.startswith("x26") else k: v for k, v in options.items()},
        )
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if turn:
            stream.set_display_rotation(turn)
        if stamps:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if stamps:
                frame.pts, frame.time_base = stamps[number], Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return str(path)


def find(named: list[str], skip: tuple[str, ...] = ()) -> tuple[list[Item], list[Refusal]]:
    """What is found, and what is refused, sorted and each once."""
    found = list(sources.find(named, skip))
    refused = {one.uri: one for one in found if isinstance(one, Refusal)}
    return [one for one in found if isinstance(one, Item)], [refused[uri] for uri in sorted(refused)]


def one(source: str, options: SourceOptions = EVERY) -> Examined:
    """What comes of a source that is one item."""
    items, refused = find([source])
    assert not refused and len(items) == 1
    return examine(items[0], options)


def reason(source: str) -> str:
    """The one sentence a bad file is refused with."""
    result = one(source)
    assert not result.clips and len(result.refusals) == 1
    refusal = result.refusals[0]
    assert refusal.uri == source and source in str(refusal) and "\n" not in str(refusal)
    return refusal.reason


def lowest_error(image: RGB, other: RGB) -> float:
    return float(np.abs(image.astype(float) - other).mean())


# Finding


def test_find_sorts_and_names_every_file_once(tmp_path: Path) -> None:
    save(tmp_path / "b.png", scene(1))
    save(tmp_path / "deep" / "er" / "a.jpg", scene(2))
    (tmp_path / "notes.md").write_text("not a picture")
    (tmp_path / ".hidden.jpg").write_bytes(b"x")
    items, refused = find([str(tmp_path), str(tmp_path / "b.png"), str(tmp_path / "*.png")])
    assert [item.uris[0] for item in items] == [str(tmp_path / "b.png"), str(tmp_path / "deep/er/a.jpg")]
    assert refused == []
    assert find([str(tmp_path / "deep"), str(tmp_path / "b.png")])[0] == items


def test_find_leaves_out_the_output_folder(tmp_path: Path) -> None:
    save(tmp_path / "in.png", scene(1))
    save(tmp_path / "out" / "made.png", scene(2))
    items, _ = find([str(tmp_path)], skip=(str(tmp_path / "out"),))
    assert [Path(item.uris[0]).name for item in items] == ["in.png"]


def test_a_list_names_sources_relative_to_itself(tmp_path: Path) -> None:
    photo = save(tmp_path / "photos" / "with space.png", scene(1))
    other = save(tmp_path / "other.png", scene(2))
    listing = tmp_path / "list.txt"
    listing.write_text(f"# mine\nphotos\n\n{other}\nlist.txt\nmissing.png\n")
    items, refused = find([str(listing)])
    assert [item.uris[0] for item in items] == [other, photo]
    assert {Path(r.uri).name: r.reason for r in refused} == {
        "list.txt": "is a list that was read already",
        "missing.png": "does not exist",
    }


def test_missing_sources_and_unknown_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thing.xyz").write_text("?")
    _, refused = find([str(tmp_path / "thing.xyz"), str(tmp_path / "none"), "nosuch://place/x.png"])
    assert len(refused) == 3
    assert any("of no known kind (.xyz)" in r.reason for r in refused)


def test_symlink_loops_end(tmp_path: Path) -> None:
    save(tmp_path / "real" / "a.png", scene(1))
    (tmp_path / "real" / "back").symlink_to(tmp_path)
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    items, refused = find([str(tmp_path)])
    assert [Path(item.uris[0]).name for item in items] == ["a.png"]
    assert sorted(Path(r.uri).name for r in refused) == ["back", "self.jpg"]


def test_an_unreadable_file_or_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, folder = save(tmp_path / "a.png", scene(1)), tmp_path / "locked"
    folder.mkdir()
    if os.geteuid() == 0:  # root reads everything: let the system calls say what they say to others
        real_open, real_scan = Path.open, os.scandir

        def no_open(self: Path, *args: object, **kwargs: object) -> object:
            if str(self) == photo:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), photo)
            return real_open(self, *args, **kwargs)  # type: ignore[call-overload]

        def no_scan(path: str) -> object:
            if path == str(folder):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return real_scan(path)

        monkeypatch.setattr(Path, "open", no_open)
        monkeypatch.setattr(os, "scandir", no_scan)
    else:
        Path(photo).chmod(0)
        folder.chmod(0)
    items, refused = find([str(tmp_path)])
    assert [(r.uri, r.reason) for r in refused] == [(str(folder), "can't be read (Permission denied)")]
    assert examine(items[0], EVERY).refusals[0].reason == "can't be read (Permission denied)"


@pytest.mark.slow
def test_many_files_are_found_fast_and_unopened(tmp_path: Path) -> None:
    for number in range(2000):
        (tmp_path / f"{number * number:07d}.jpg").touch()
    items, refused = find([str(tmp_path)])
    assert len(items) == 2000 and not refused


def test_memory_and_web_addresses_are_read(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    data = io.BytesIO()
    Image.fromarray(scene(1)).save(data, "PNG")
    memory.pipe_file("/bucket/in a/photo.png", data.getvalue())
    path = film(tmp_path / "clip.mp4", pan(1, 12))
    memory.pipe_file("/bucket/in a/clip.mp4", Path(path).read_bytes())
    items, refused = find(["memory://bucket"])
    assert not refused and [item.kind for item in items] == ["video", "image"]
    (video,), (photo,) = (examine(item, EVERY).clips for item in items)
    assert np.array_equal(read(photo, (240, 320)).image[0], scene(1))
    (local,) = one(path).clips
    assert video.key == local.key
    assert np.array_equal(read(video, (64, 64)).image, read(local, (64, 64)).image)
    memory.rm("/bucket", recursive=True)


def test_a_missing_backend_names_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(uri: str) -> None:
        raise ImportError("Install gcsfs to access Google Storage")

    monkeypatch.setattr(fsspec.core, "url_to_fs", absent)
    _, (refusal,) = find(["gs://bucket/photo.png"])
    assert "pip install 'freelabels[gcs]'" in refusal.reason


# Photos


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "bmp"])
def test_photo_formats(tmp_path: Path, suffix: str) -> None:
    (spec,) = one(save(tmp_path / f"a.{suffix}", scene(1))).clips
    assert (spec.kind, spec.frames, spec.size, spec.provides) == ("photo", 1, (240, 320), frozenset())
    assert lowest_error(read(spec, (240, 320)).image[0], scene(1)) < 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path: Path, orientation: int) -> None:
    upright = scene(1, 64, 96)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    (spec,) = one(save(tmp_path / "a.png", np.ascontiguousarray(stored), exif=exif)).clips
    assert spec.size == (64, 96)
    assert np.array_equal(read(spec, (64, 96)).image[0], upright)


def test_grey_palette_and_alpha(tmp_path: Path) -> None:
    image = Image.fromarray(scene(1))
    grey = image.convert("L")
    grey.save(tmp_path / "grey.png")
    (spec,) = one(str(tmp_path / "grey.png")).clips
    assert np.array_equal(read(spec, (240, 320)).image[0], np.repeat(np.asarray(grey)[..., None], 3, -1))
    image.quantize(256).save(tmp_path / "palette.png")
    (spec,) = one(str(tmp_path / "palette.png")).clips
    assert lowest_error(read(spec, (240, 320)).image[0], scene(1)) < 12
    alpha = np.zeros((240, 320), np.uint8)
    alpha[:, :160] = 255
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / "alpha.png")
    (spec,) = one(str(tmp_path / "alpha.png")).clips
    made = read(spec, (240, 320)).image[0]
    assert np.array_equal(made[:, :160], scene(1)[:, :160]) and (made[:, 160:] == 128).all()


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    for name in ("grey.tiff", "grey.png"):
        Image.fromarray(ramp).save(tmp_path / name)
        (spec,) = one(str(tmp_path / name)).clips
        assert np.array_equal(read(spec, (64, 64)).image[0, ..., 0], np.rint(ramp / 257).astype(np.uint8))
    Image.fromarray((ramp >> 4).astype(np.uint16)).save(tmp_path / "twelve.tiff")
    (spec,) = one(str(tmp_path / "twelve.tiff")).clips
    assert read(spec, (64, 64)).image.max() == 255


def test_cmyk_becomes_the_colour_it_prints(tmp_path: Path) -> None:
    Image.fromarray(scene(1)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    (spec,) = one(str(tmp_path / "a.jpg")).clips
    assert lowest_error(read(spec, (240, 320)).image[0], scene(1)) < 8


def test_intrinsics_come_from_the_user_then_exif_then_a_default(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[41989] = 35
    photo = save(tmp_path / "a.jpg", scene(1, 480, 720), exif=exif)
    (spec,) = one(photo).clips
    focal = 35 / math.hypot(36, 24) * math.hypot(720, 480)
    assert spec.intrinsics == "exif" and INTRINSICS in spec.provides
    np.testing.assert_allclose(spec.camera_K, intrinsics(focal, 720, 480))
    (spec,) = one(photo, SourceOptions(camera=(700, 701, 350, 240))).clips
    assert spec.intrinsics == "given" and spec.camera == (700, 701, 350, 240)
    (spec,) = one(photo, SourceOptions(fov=90)).clips
    assert spec.intrinsics == "given" and spec.camera[0] == pytest.approx(360)
    (spec,) = one(save(tmp_path / "b.jpg", scene(1, 480, 720))).clips
    assert spec.intrinsics == "assumed" and spec.camera[0] == pytest.approx(360 / math.tan(math.radians(30)))
    assert INTRINSICS not in spec.provides


@pytest.mark.parametrize("shape", [(240, 320), (333, 211), (100, 1000), (64, 64), (40, 50)])
def test_intrinsics_follow_crop_and_scale(tmp_path: Path, shape: tuple[int, int]) -> None:
    """A bright dot lands where the scaled K says its direction does."""
    height, width = shape
    image = scene(1, height, width) // 8
    row, column = height // 2 + 7, width // 2 - 9
    image[row - 2 : row + 3, column - 2 : column + 3] = 255
    (spec,) = one(save(tmp_path / "a.png", image)).clips
    clip = read(spec, (64, 64))
    K, k = spec.camera_K, clip.camera_K
    x = k[0, 0] * (column + 0.5 - K[0, 2]) / K[0, 0] + k[0, 2]
    y = k[1, 1] * (row + 0.5 - K[1, 2]) / K[1, 1] + k[1, 2]
    bright = (clip.image[0, ..., 0].astype(float) - 32).clip(0)
    at_x = (bright.sum(axis=0) * (np.arange(64) + 0.5)).sum() / bright.sum()
    at_y = (bright.sum(axis=1) * (np.arange(64) + 0.5)).sum() / bright.sum()
    assert abs(at_x - x) < 0.3 and abs(at_y - y) < 0.3


def test_shrinking_averages_areas() -> None:
    image = scene(1, 256, 256)
    blocks = image.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
    assert np.abs(crop_resize(image, (64, 64)) - blocks).max() <= 0.5
    assert window((100, 300), (50, 50)) == (100, 0, 100, 100)


@pytest.mark.slow
def test_a_large_jpeg_read_coarsely_is_what_it_is_read_finely(tmp_path: Path) -> None:
    (spec,) = one(save(tmp_path / "a.jpg", scene(1, 1600, 1800), quality=95)).clips
    coarse = read(spec, (128, 128))
    full = np.asarray(Image.open(spec.uris[0]))
    assert lowest_error(coarse.image[0], crop_resize(full, (128, 128))) < 1.0
    np.testing.assert_allclose(
        coarse.camera_K, [[spec.camera[0] * 0.08, 0, 64], [0, spec.camera[1] * 0.08, 64], [0, 0, 1]]
    )


# Bad files


def test_broken_images_are_refused_in_one_sentence(tmp_path: Path) -> None:
    whole = Path(save(tmp_path / "whole.jpg", scene(1))).read_bytes()
    Path(tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    assert reason(str(tmp_path / "half.jpg")) == "is truncated"
    Path(tmp_path / "empty.png").touch()
    assert reason(str(tmp_path / "empty.png")) == "is empty"
    Path(tmp_path / "text.png").write_text("I am no picture")
    assert reason(str(tmp_path / "text.png")) == "is not an image of a known format"
    assert "smallest useful side" in reason(save(tmp_path / "dot.png", np.zeros((1, 1, 3), np.uint8)))


def test_names_may_hold_anything(tmp_path: Path) -> None:
    for name in (
        "with space.png",
        'quote\'s "q".png',
        "фото.png",
        "照片 #1?.png",
        "line\nbreak.png",
        "[1].png",
    ):
        path = save(tmp_path / name, scene(1))
        (spec,) = one(path).clips
        assert ClipSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
        assert read(spec, (32, 32)).image.shape == (1, 32, 32, 3)


def _png_of_zeros(width: int, height: int) -> bytes:
    """The head of a png so large that nobody should decode it."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(10000))) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    for side in (12_000, 30_000):
        (tmp_path / "bomb.png").write_bytes(_png_of_zeros(side, side))
        assert "pixels" in reason(str(tmp_path / "bomb.png"))


def test_masks_label_maps_and_depth_maps_are_no_photos(tmp_path: Path) -> None:
    ids = cv2.resize(np.arange(12, dtype=np.uint8).reshape(3, 4), (320, 240), interpolation=cv2.INTER_NEAREST)
    Image.fromarray(ids).save(tmp_path / "ids.png")
    binary = Image.fromarray(np.where(ids > 5, 255, 0).astype(np.uint8))
    binary.save(tmp_path / "binary.png")
    binary.save(tmp_path / "binary.jpg")
    coloured = Image.fromarray(ids)
    coloured.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    coloured.save(tmp_path / "coloured.png")
    for name in ("ids.png", "binary.png", "binary.jpg", "coloured.png"):
        assert "label map" in reason(str(tmp_path / name))
    depth = (scene(1)[..., 0].astype(np.uint16) + 1) * 20
    Image.fromarray(depth).save(tmp_path / "disp0.png")
    assert "by its name" in reason(str(tmp_path / "disp0.png"))
    assert "one flat colour" in reason(save(tmp_path / "flat.png", np.full((64, 64, 3), 7, np.uint8)))


def test_a_key_depends_on_content_and_options_not_on_names_or_times(tmp_path: Path) -> None:
    first, second = save(tmp_path / "a.png", scene(1)), save(tmp_path / "b" / "z.png", scene(1))
    os.utime(second, (1, 1))
    (a,), (b,) = one(first).clips, one(second).clips
    assert a.key == b.key != one(first, SourceOptions(fov=50)).clips[0].key
    assert one(save(tmp_path / "c.png", scene(2))).clips[0].key != a.key
    assert pickle.loads(pickle.dumps(a)) == a
    before = find([first])[0][0].stamp
    os.utime(first, (5, 5))
    assert find([first])[0][0].stamp != before


# Video


def test_video_frames_and_times(tmp_path: Path) -> None:
    pictures = pan(1, 30)
    (spec,) = one(film(tmp_path / "a.mp4", pictures, rate=25, crf="12")).clips
    assert (spec.kind, spec.frames, spec.size, spec.rate) == ("video", 30, (96, 128), 25.0)
    assert spec.provides == {CONSECUTIVE} and not spec.rate_assumed
    clip = read(spec, (96, 128))
    np.testing.assert_allclose(clip.time, np.arange(30) / 25, atol=1e-6)
    assert max(lowest_error(made, true) for made, true in zip(clip.image, pictures, strict=True)) < 6


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mkv", "libx264"), ("mov", "mpeg4"), ("avi", "mpeg4"), ("webm", "libvpx-vp9")]
)
def test_video_containers(tmp_path: Path, suffix: str, codec: str) -> None:
    (spec,) = one(film(tmp_path / f"a.{suffix}", pan(1, 10), codec=codec)).clips
    assert spec.frames == 10
    assert lowest_error(read(spec, (96, 128)).image[9], pan(1, 10)[9]) < 12


def test_variable_rate_is_sampled_by_time(tmp_path: Path) -> None:
    stamps = [0, 10, 20, 100, 205, 210, 300, 700, 800]
    path = film(tmp_path / "a.mkv", pan(1, len(stamps)), stamps=stamps)
    (spec,) = one(path, SourceOptions(fps=10)).clips
    np.testing.assert_allclose(spec.times, [0, 0.1, 0.205, 0.3, 0.7, 0.8], atol=0.002)
    assert spec.indices == (0, 3, 4, 6, 7, 8)


def test_sampling_takes_the_nearest_frame_once() -> None:
    assert sample([k / 30 for k in range(13)], 10) == [0, 3, 6, 9, 12]
    assert sample([k / 5 for k in range(5)], 10) == [0, 1, 2, 3, 4]
    assert sample([k / 24 for k in range(480)], 24) == list(range(480))
    assert len(sample([k / 60 for k in range(600)], 10)) == 100
    assert sample([0.0], 10) == [0]
    assert sample([0.0, 0.5], None) == [0, 1]


def test_long_shots_are_cut_into_even_linked_parts(tmp_path: Path) -> None:
    clips = one(film(tmp_path / "a.mp4", pan(1, 50, step=1)), SourceOptions(fps=None, clip_length=16)).clips
    assert [(c.part, c.parts) for c in clips] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len({c.shot for c in clips}) == 1 and len({c.key for c in clips}) == 4
    assert [i for c in clips for i in c.indices] == list(range(50))
    assert {stop - start for start, stop in parts_of(1000, 64)} == {62, 63}
    assert parts_of(64, 64) == [(0, 64)]


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "libx265"])
def test_any_part_reads_the_same_pixels_as_the_whole(tmp_path: Path, codec: str) -> None:
    options = {"g": "12", "bf": "3"} | ({"x264-params": "open-gop=1"} if codec == "libx264" else {})
    if codec == "libx265":
        options = {"x265-params": "keyint=12:open-gop=1:bframes=3:log-level=none:pools=1"}
    path = film(tmp_path / "a.mp4", pan(1, 60, step=1), codec=codec, **options)
    with opened(path) as video:
        whole = [
            crop_resize(frame.rgb(), (48, 48)) for frame in video.frames() if isinstance(frame, DecodedFrame)
        ]
    for clip in reversed(one(path, SourceOptions(fps=None, clip_length=7)).clips):
        assert np.array_equal(read(clip, (48, 48)).image, [whole[k] for k in clip.indices])


def test_time_stamps_missing_altogether(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", pan(1, 30, step=1), g="6")
    raw = tmp_path / "raw.avi"
    with av.open(path) as source, av.open(str(tmp_path / "raw.h264"), "w", format="h264") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    (tmp_path / "raw.h264").rename(raw)  # a bare stream under a known suffix
    clips = one(str(raw), SourceOptions(fps=None, clip_length=8)).clips
    assert [i for c in clips for i in c.indices] == list(range(30))
    assert all(np.diff(c.times).min() > 0 for c in clips)
    (whole,) = one(path).clips
    expected = read(whole, (48, 48)).image
    for clip in clips:
        assert np.array_equal(read(clip, (48, 48)).image, expected[list(clip.indices)])


def test_rotated_video_stands_upright(tmp_path: Path) -> None:
    pictures = pan(1, 4, step=0)
    for turn in (90, -90, 180):
        (spec,) = one(film(tmp_path / f"{turn}.mp4", pictures, turn=turn, crf="10")).clips
        upright = np.rot90(pictures[0], turn // 90)
        assert spec.size == upright.shape[:2]
        assert lowest_error(read(spec, spec.size).image[0], upright) < 6


def test_half_a_video(tmp_path: Path) -> None:
    """Without its index it is refused; with it, the whole part is used and a note says so."""
    data = Path(film(tmp_path / "whole.mp4", pan(1, 90, step=1), g="10")).read_bytes()
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])
    assert "index or header is missing" in reason(str(tmp_path / "half.mp4"))
    data = Path(film(tmp_path / "w.mkv", pan(1, 90, step=1), g="10")).read_bytes()
    (tmp_path / "half.mkv").write_bytes(data[: len(data) // 2])
    clips = one(str(tmp_path / "half.mkv")).clips
    assert clips and all("what" in clip.note and "was used" in clip.note for clip in clips)
    assert 20 < sum(clip.frames for clip in clips) < 80
    assert all(len(read(clip, (32, 32))) == clip.frames for clip in clips)


def test_a_video_without_frames_or_without_video(tmp_path: Path) -> None:
    path = tmp_path / "none.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
        file.start_encoding()
    assert reason(str(path)) in ("has no frames", "holds no video") or "index or header" in reason(str(path))
    (tmp_path / "empty.mov").touch()
    assert reason(str(tmp_path / "empty.mov")) == "is empty"
    (tmp_path / "text.avi").write_text("no film " * 100)
    assert "not a whole video" in reason(str(tmp_path / "text.avi"))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animated_images_are_videos(tmp_path: Path, suffix: str) -> None:
    images = [Image.fromarray(picture) for picture in pan(1, 8)]
    path = tmp_path / f"a.{suffix}"
    images[0].save(path, save_all=True, append_images=images[1:], duration=50, loop=0)
    (spec,) = one(str(path)).clips
    assert (spec.kind, spec.frames) == ("video", 8) and CONSECUTIVE in spec.provides
    np.testing.assert_allclose(spec.times, np.arange(8) * 0.05)
    assert lowest_error(read(spec, (96, 128)).image[7], pan(1, 8)[7]) < 20
    images[0].save(tmp_path / f"still.{suffix}")
    assert one(str(tmp_path / f"still.{suffix}")).clips[0].kind == "photo"


def test_an_animation_of_huge_frames_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes may claim frames of which each takes seconds."""
    monkeypatch.setattr(images, "MAX_FRAME_PIXELS", 1000)
    first, *rest = [Image.fromarray(picture) for picture in pan(1, 3)]
    first.save(tmp_path / "a.webp", save_all=True, append_images=rest)
    assert reason(str(tmp_path / "a.webp")).startswith(
        "has 128 × 96 pixels a frame, the limit of an animation is"
    )
    first.save(tmp_path / "still.webp")
    assert one(str(tmp_path / "still.webp")).clips


# Shots


def shots_of(pictures: list[RGB]) -> list[int]:
    finder = CutFinder()
    for picture in pictures:
        finder.feed(thumb(picture))
    return finder.shots()


@pytest.mark.slow
def test_cuts_between_shots_are_found_where_they_are() -> None:
    assert shots_of(pan(1, 20) + pan(2, 15) + pan(3, 25)) == [0] * 20 + [1] * 15 + [2] * 25
    still = [scene(4, 96, 128)] * 12
    assert shots_of(still + pan(5, 6) + still) == [0] * 12 + [1] * 6 + [2] * 12
    dark = [(p // 8).astype(np.uint8) for p in pan(1, 10) + pan(2, 10)]
    assert shots_of(dark) == [0] * 10 + [1] * 10


def test_flashes_fast_pans_and_passers_by_are_no_cuts() -> None:
    pictures = pan(1, 30)
    for k in (10, 11):
        pictures[k] = (pictures[k] // 4 + 190).astype(np.uint8)
    pictures[20] = np.full_like(pictures[20], 255)
    assert set(shots_of(pictures)) == {0}
    assert set(shots_of(pan(2, 12, step=45))) == {0}
    wide = scene(2, 96, 900)
    starting = [wide[:, x : x + 128] for x in [*range(10), *range(30, 700, 25), *range(701, 710)]]
    assert set(shots_of(starting)) == {0}
    passing = pan(3, 24)
    for k in range(8, 16):
        passing[k] = passing[k].copy()
        passing[k][:, (k - 8) * 16 : (k - 8) * 16 + 60] = 20
    assert set(shots_of(passing)) == {0}


def test_black_between_shots_belongs_to_none() -> None:
    black = [np.zeros((96, 128, 3), np.uint8)] * 8
    assert shots_of(pan(1, 9) + black + pan(2, 9)) == [0] * 9 + [-1] * 8 + [1] * 9
    assert shots_of(black + pan(1, 9)) == [-1] * 8 + [0] * 9


def test_a_dissolve_belongs_to_no_shot() -> None:
    before, after = scene(1, 96, 128), scene(2, 96, 128)
    weights = [0.0] * 22 + [k / 9 for k in range(1, 9)] + [1.0] * 22
    shots = shots_of([((1 - w) * before.astype(float) + w * after).astype(np.uint8) for w in weights])
    assert set(shots[:21]) == {0} and set(shots[31:]) == {1} and set(shots[23:29]) == {-1}


def test_no_clip_spans_a_cut(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", pan(1, 33) + pan(2, 27))
    clips = one(path, SourceOptions(fps=10)).clips
    assert [c.indices for c in clips] == [tuple(range(0, 33, 3)), tuple(range(33, 60, 3))]
    assert len({c.shot for c in clips}) == 2


# Several files


def test_numbered_frames_are_a_sequence_and_numbered_photos_are_not(tmp_path: Path) -> None:
    for number, picture in enumerate(pan(1, 12)):
        save(tmp_path / "frames" / f"img_{number + 7:04d}.png", picture)
        save(tmp_path / "photos" / f"img_{number:04d}.png", scene(50 + number, 96, 128))
    (clip,) = one(str(tmp_path / "frames")).clips
    assert (clip.kind, clip.frames, clip.rate_assumed) == ("sequence", 12, True)
    assert CONSECUTIVE in clip.provides
    assert np.array_equal(read(clip, (96, 128)).image, pan(1, 12))
    photos = one(str(tmp_path / "photos")).clips
    assert [photo.kind for photo in photos] == ["photo"] * 12


def test_a_broken_frame_is_refused_and_breaks_the_sequence(tmp_path: Path) -> None:
    for number, picture in enumerate(pan(1, 12)):
        save(tmp_path / f"{number}.png", picture)
    (tmp_path / "5.png").write_text("broken")
    (item,), _ = find([str(tmp_path)])
    found = examine(item, EVERY)
    assert [(c.kind, c.frames) for c in found.clips] == [("sequence", 5), ("sequence", 6)]
    assert [r.uri for r in found.refusals] == [str(tmp_path / "5.png")]
    assert item.uris[9].endswith("/9.png") and item.uris[10].endswith("/10.png")


def stereo_pair(seed: int, disparity: int = 6) -> tuple[RGB, RGB]:
    wide = scene(seed, 120, 170)
    return wide[:, :160], wide[:, disparity : disparity + 160]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("im2", "im6"),
        ("im0", "im1"),
        ("view1", "view5"),
        ("left", "right"),
        ("x_l", "x_r"),
        ("a_left_1", "a_right_1"),
    ],
)
def test_stereo_pairs_by_name_and_pixels(tmp_path: Path, left: str, right: str) -> None:
    a, b = stereo_pair(1)
    save(tmp_path / f"{left}.png", a)
    save(tmp_path / f"{right}.png", b)
    save(tmp_path / "disp2.png", np.repeat(scene(9, 120, 160)[..., :1], 3, -1))
    (tmp_path / "calib.txt").write_text(
        "cam0=[200 0 80; 0 200 60; 0 0 1]\ncam1=[200 0 80; 0 200 60; 0 0 1]\nbaseline=120\n"
    )
    (clip,) = one(str(tmp_path)).clips
    assert clip.kind == "stereo" and clip.provides == {STEREO, INTRINSICS, BASELINE}
    made = read(clip, (120, 160))
    assert made.right is not None and np.array_equal(made.image[0], a) and np.array_equal(made.right[0], b)
    assert made.baseline == pytest.approx(0.12)
    np.testing.assert_allclose(made.camera_K, [[200, 0, 80.5], [0, 200, 60.5], [0, 0, 1]])


def test_two_photos_called_left_and_right_are_two_photos(tmp_path: Path) -> None:
    save(tmp_path / "hand_left.png", scene(1))
    save(tmp_path / "hand_right.png", scene(2))
    assert [c.kind for c in one(str(tmp_path)).clips] == ["photo", "photo"]


def test_stereo_folders(tmp_path: Path) -> None:
    for number in (10, 11, 20):
        a, b = stereo_pair(number)
        save(tmp_path / "image_2" / f"0000{number}.png", a)
        save(tmp_path / "image_3" / f"0000{number}.png", b)
    items, _ = find([str(tmp_path)])
    clips = [clip for item in items for clip in examine(item, EVERY).clips]
    assert [(c.kind, c.frames) for c in clips] == [("stereo", 1)] * 3


def test_rgbd_sequence(tmp_path: Path) -> None:
    pose = np.eye(4)
    pose[:3, 3] = (1, 2, 3)
    depth = np.full((96, 128), 1500, np.uint16)
    depth[0, 0], depth[0, 1], depth[40:, :] = 0, 65535, 2500
    for number, picture in enumerate(pan(1, 5)):
        save(tmp_path / f"f-{number}.color.png", picture)
        Image.fromarray(depth).save(tmp_path / f"f-{number}.depth.png")
        np.savetxt(tmp_path / f"f-{number}.pose.txt", pose)
    np.savetxt(tmp_path / "camera-intrinsics.txt", [[100, 0, 64], [0, 100, 48], [0, 0, 1]])
    (clip,) = one(str(tmp_path)).clips
    assert clip.provides == {CONSECUTIVE, SENSOR_DEPTH, INTRINSICS}
    made = read(clip, (96, 128))
    assert made.sensor_depth is not None and made.camera_pose is not None
    assert np.isnan(made.sensor_depth[0, 0, :2]).all() and made.sensor_depth[2, 50, 50] == np.float32(2.5)
    assert np.array_equal(made.camera_pose[3], pose)
    small = read(clip, (48, 48))
    assert small.sensor_depth is not None
    assert set(np.unique(small.sensor_depth[0][1:])) == {np.float32(1.5), np.float32(2.5)}  # never blended


def test_unrelated_pictures_share_nothing() -> None:
    same, other = pan(1, 2), scene(2, 96, 128)
    assert match(thumb(same[0]), thumb(same[1])).share > 0.8
    assert match(thumb(same[0]), thumb(other)).share < 0.2
