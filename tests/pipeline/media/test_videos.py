"""Every frame of a video, in order and upright, whatever its container, its camera and its past did to it."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from numpy.typing import NDArray

from freelabels.pipeline.media.images import upright
from freelabels.pipeline.sources.clip_specs import ClipSpec, SourceOptions
from freelabels.pipeline.sources.decode import read
from freelabels.pipeline.sources.sampling import holes, stamps_that_fall
from tests.pipeline.sources.test_sources import film, lowest_error, one, pan, reason, save, scene

RGB = NDArray[np.uint8]


def woven(count: int, top_first: bool = True, step: int = 3) -> list[RGB]:
    """Frames whose two fields are of two moments."""
    moments, frames = pan(1, 2 * count, step), []
    for k in range(count):
        early, late = moments[2 * k], moments[2 * k + 1]
        frame = early.copy()
        frame[top_first::2] = late[top_first::2]
        frames.append(frame)
    return frames


def combing(image: RGB) -> float:
    """How much rows differ from the mean of those above and below."""
    rows = image.astype(float)
    return float(np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean())


def frames_of(clips: Iterable[ClipSpec], size: tuple[int, int] = (96, 128)) -> list[RGB]:
    return [image for clip in clips for image in read(clip, size).image]


def encode(
    file: av.container.OutputContainer, pictures: list[RGB], codec: str, rate: int = 25, **options: str
) -> av.VideoStream:
    stream = file.add_stream(codec, rate=rate, options=options)
    stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], "yuv420p"
    packets = [
        stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(p), format="rgb24")) for p in pictures
    ]
    for packet in [p for some in [*packets, stream.encode()] for p in some]:
        file.mux(packet)
    return stream


# Covers, sound, several videos


def song(file: av.container.OutputContainer, codec: str = "aac") -> None:
    stream = file.add_stream(codec, rate=44100)
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
    frame.sample_rate = 44100
    for packet in [*stream.encode(frame), *stream.encode()]:
        file.mux(packet)


def cover(file: av.container.OutputContainer) -> av.Packet:
    """A cover picture as the next stream, to be written when the file has begun."""
    stream = file.add_stream("mjpeg", rate=1)
    stream.height, stream.width, stream.pix_fmt = 64, 64, "yuvj420p"
    stream.disposition = Disposition.attached_pic
    frame = av.VideoFrame.from_ndarray(scene(5, 64, 64), format="rgb24")
    [packet] = [*stream.encode(frame), *stream.encode()]
    return packet


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_a_cover_is_no_video(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as file:
        if suffix == "mkv":
            file.add_attachment(
                "cover.jpg", "image/jpeg", Path(save(tmp_path / "c.jpeg", scene(5))).read_bytes()
            )
            encode(file, pan(1, 20), "libx264")
        else:
            packet = cover(file)
            stream = file.add_stream("libx264", rate=25)
            stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
            made = [
                stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(p), format="rgb24"))
                for p in pan(1, 20)
            ]
            for one_packet in [packet, *(p for some in [*made, stream.encode()] for p in some)]:
                file.mux(one_packet)
    (clip,) = one(str(path)).clips
    assert (clip.frames, clip.size, clip.note) == (20, (96, 128), "")


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_a_song_with_a_cover_holds_no_video(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"song.{suffix}"
    with av.open(str(path), "w") as file:
        if suffix == "mkv":
            file.add_attachment(
                "cover.jpg", "image/jpeg", Path(save(tmp_path / "c.jpeg", scene(5))).read_bytes()
            )
            song(file)
        else:
            packet = cover(file)
            song(file)
            file.mux(packet)
    assert reason(str(path)) == "holds no video"


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_of_two_cameras_one_is_chosen_and_that_is_said(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"two.{suffix}"
    with av.open(str(path), "w") as file:
        streams = [file.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, side in zip(streams, (96, 64), strict=True):
            stream.height, stream.width, stream.pix_fmt = side, 128, "yuv420p"
        for k in range(12):
            for stream, seed in zip(streams, (1, 2), strict=True):
                picture = pan(seed, 12, height=stream.height)[k]
                for packet in stream.encode(
                    av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                ):
                    file.mux(packet)
        for stream in streams:
            for packet in stream.encode():
                file.mux(packet)
    for number, (seed, height) in enumerate(((1, 96), (2, 64))):
        (clip,) = one(str(path), SourceOptions(fps=None, stream=number)).clips
        assert (clip.frames, clip.size, clip.stream) == (12, (height, 128), number)
        assert f"holds 2 videos, of which number {number} was used" in clip.note
        assert lowest_error(frames_of([clip], (height, 128))[3], pan(seed, 12, height=height)[3]) < 12
    refused = one(str(path), SourceOptions(fps=None, stream=2)).refusals
    assert [r.reason for r in refused] == ["has no video stream 2: it holds 2, counted from 0"]


# Damage and joins


def by_time(path: Path) -> dict[float, RGB]:
    clips = one(str(path)).clips
    return {time: image for clip in clips for time, image in zip(clip.times, frames_of([clip]), strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("mkv", "libx264"), ("avi", "mpeg4"), ("mpg", "mpeg2video"), ("ts", "libx264"), ("mp4", "libx264")],
)
def test_damage_in_the_middle_costs_a_group_of_pictures(tmp_path: Path, suffix: str, codec: str) -> None:
    path = Path(film(tmp_path / f"a.{suffix}", pan(1, 60, step=1), codec=codec, g="6", bf="0"))
    expected = by_time(path)
    data = bytearray(path.read_bytes())
    middle = len(data) * 45 // 100
    data[middle : middle + 400] = np.random.default_rng(0).integers(0, 256, 400, np.uint8).tobytes()
    path.write_bytes(data)
    check_damaged(path, expected)


def check_damaged(path: Path, expected: dict[float, RGB]) -> None:
    """At most two groups of six pictures of sixty are gone, that is said, and what is used is whole."""
    found = one(str(path))
    assert not found.refusals and found.clips
    times = [time for clip in found.clips for time in clip.times]
    assert 48 <= len(times) < 60 and times == sorted(times) and times[-1] > times[0] + 1.5
    for clip in reversed(found.clips):
        said = sum(
            int(word) for word in clip.note.replace(f"{len(times)} were used", "").split() if word.isdigit()
        )
        assert "were left out" in clip.note and abs(said - (60 - len(times))) <= 2
        for image in frames_of([clip]):
            assert min(lowest_error(image, true) for true in expected.values()) < 1


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["libx264", "mpeg2video", "libx265"])
def test_packets_lost_on_the_air(tmp_path: Path, codec: str) -> None:
    options = (
        {"x265-params": "keyint=6:bframes=0:log-level=none:pools=1"} if codec == "libx265" else {"bf": "0"}
    )
    path = Path(film(tmp_path / "a.ts", pan(1, 60, step=1), codec=codec, g="6", **options))
    expected = by_time(path)
    data = path.read_bytes()
    middle = len(data) * 45 // 100 // 188 * 188
    path.write_bytes(data[:middle] + data[middle + 4 * 188 :])
    check_damaged(path, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "codec"), [("mpg", "mpeg2video"), ("ts", "libx264"), ("vob", "mpeg2video")]
)
@pytest.mark.parametrize("parts", [2, 3])
def test_joined_recordings_are_used_to_the_end(tmp_path: Path, suffix: str, codec: str, parts: int) -> None:
    recordings = [film(tmp_path / f"{k}.{suffix}", pan(k, 20), rate=25, codec=codec) for k in range(parts)]
    joined = tmp_path / f"joined.{suffix}"
    joined.write_bytes(b"".join(Path(path).read_bytes() for path in recordings))
    clips = one(str(joined)).clips
    assert [clip.frames for clip in clips] == [20] * parts and len({clip.shot for clip in clips}) == parts
    for k, clip in reversed(list(enumerate(clips))):
        assert lowest_error(frames_of([clip])[10], pan(k, 20)[10]) < 14
    same = tmp_path / f"same.{suffix}"
    same.write_bytes(Path(recordings[0]).read_bytes() * parts)
    assert [clip.frames for clip in one(str(same)).clips] == [20] * parts  # alike to the eye, but not in time


def test_stamps_that_are_wrong_are_not_a_join() -> None:
    assert stamps_that_fall([0, 1, 2, 0, 1, 2]) == ([3], set())
    assert stamps_that_fall([0, 1, 5, 3, 4, 6, 7]) == ([], {3, 4})
    assert stamps_that_fall([0, 1, 1, 2]) == ([], {2})
    assert stamps_that_fall([-2, -1, 0, 1, -2, -1, 0, 1, 2]) == ([4], set())
    assert stamps_that_fall([9.0]) == ([], set())


def test_holes_in_a_constant_rate() -> None:
    key = [k % 4 == 0 for k in range(12)]
    assert holes([0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14], key) == ([5], {5, 6, 7}, 3)
    assert holes([0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13], key) == ([8], set(), 2)
    assert holes([0, 1, 4, 5, 9, 10, 14, 15, 16, 20, 21, 24], key) == ([], set(), 0)  # its rate varies
    assert holes([0.0], [True]) == ([], set(), 0)


def test_a_change_of_size_ends_a_shot(tmp_path: Path) -> None:
    parts = [film(tmp_path / f"{h}.ts", pan(1, 12, height=h), codec="libx264") for h in (96, 64)]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(Path(part).read_bytes() for part in parts))
    clips = one(str(path)).clips
    assert [(clip.frames, clip.size) for clip in clips] == [(12, (96, 128)), (12, (64, 128))]


# Time


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
def test_stamps_may_begin_anywhere(tmp_path: Path, suffix: str) -> None:
    for begin in (0, 40_000, 3_600_000):
        stamps = [begin + 40 * k for k in range(15)]
        (clip,) = one(film(tmp_path / f"{begin}.{suffix}", pan(1, 15), stamps=stamps)).clips
        assert clip.frames == 15
        np.testing.assert_allclose(np.diff(clip.times), 0.04, atol=0.002)
        assert lowest_error(frames_of([clip])[14], pan(1, 15)[14]) < 12


def test_what_an_edit_list_cuts_off_is_cut_off(tmp_path: Path) -> None:
    """Players don't show what lies before time zero; the pictures there are decoded all the same."""
    path = tmp_path / "edited.mp4"
    with av.open(str(path), "w", options={"use_editlist": "1", "avoid_negative_ts": "disabled"}) as file:
        stream = file.add_stream("libx264", rate=25, options={"bf": "0", "g": "50"})
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        for number, picture in enumerate(pan(1, 30)):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            for packet in stream.encode(frame):
                packet.pts, packet.dts = packet.pts - 10, packet.dts - 10
                file.mux(packet)
        for packet in stream.encode():
            packet.pts, packet.dts = packet.pts - 10, packet.dts - 10
            file.mux(packet)
    clips = one(str(path)).clips
    images = frames_of(clips)
    assert len(images) == 20 and clips[0].times[0] == 0
    assert lowest_error(images[0], pan(1, 30)[10]) < 12
    assert lowest_error(images[19], pan(1, 30)[29]) < 12


# Upright


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_display_matrices_turn_and_mirror(tmp_path: Path, orientation: int, suffix: str) -> None:
    a, b, c, d = {
        1: (1, 0, 0, 1),
        2: (-1, 0, 0, 1),
        3: (-1, 0, 0, -1),
        4: (1, 0, 0, -1),
        5: (0, 1, 1, 0),
        6: (0, 1, -1, 0),
        7: (0, -1, -1, 0),
        8: (0, -1, 1, 0),
    }[orientation]
    path, stored = tmp_path / f"a.{suffix}", scene(1, 96, 128)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        unit = 1 << 16
        stream.set_display_matrix([a * unit, b * unit, 0, c * unit, d * unit, 0, 0, 0, 1 << 30])
        for packet in [*stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")), *stream.encode()]:
            file.mux(packet)
    (clip,) = one(str(path)).clips
    expected = np.zeros((96, 128, 3), np.uint8) if orientation < 5 else np.zeros((128, 96, 3), np.uint8)
    for y, x in np.ndindex(96, 128):  # as ISO/IEC 14496-12 has it: (x', y') = (x, y) · [[a, b], [c, d]]
        row, column = b * x + d * y, a * x + c * y
        expected[
            row + (expected.shape[0] - 1) * (min(b, d) < 0),
            column + (expected.shape[1] - 1) * (min(a, c) < 0),
        ] = stored[y, x]
    assert clip.size == expected.shape[:2]
    assert lowest_error(frames_of([clip], clip.size)[0], expected) < 6
    assert np.array_equal(upright(stored, orientation), expected)


# Interlacing


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("mpg", "mpeg2video", {"flags": "+ildct+ilme"}),
        ("mp4", "libx264", {"x264-params": "tff=1"}),
        ("mkv", "libx264", {"x264-params": "bff=1"}),
        ("ts", "mpeg2video", {"flags": "+ildct+ilme"}),
        ("mov", "prores_ks", {"flags": "+ildct"}),
    ],
)
def test_interlaced_frames_are_deinterlaced(
    tmp_path: Path, suffix: str, codec: str, options: dict[str, str]
) -> None:
    path = tmp_path / f"a.{suffix}"
    top = options.get("x264-params") != "bff=1"
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25, options=options | {"g": "6", "b": "20000000"})
        stream.height, stream.width = 96, 128
        stream.pix_fmt = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
        graph = av.filter.Graph()
        source = graph.add_buffer(width=128, height=96, format="rgb24", time_base=Fraction(1, 25))
        nodes = [
            source,
            graph.add("setfield", "tff" if top else "bff"),
            graph.add("format", stream.pix_fmt),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*nodes).configure()
        for number, picture in enumerate(woven(24, top)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            graph.push(frame)
            file.mux(stream.encode(graph.pull()))
        file.mux(stream.encode())
    clips = one(str(path), SourceOptions(fps=None, clip_length=7)).clips
    assert sum(clip.frames for clip in clips) == 24
    assert all("is interlaced" in clip.note for clip in clips)
    images = frames_of(clips)
    moment = pan(1, 48)[0::2]
    assert combing(images[12]) < 0.5 * combing(woven(24, top)[12])
    assert combing(images[12]) < 1.5 * combing(moment[12])
    assert min(lowest_error(images[12], picture) for picture in pan(1, 48)[24:26]) < 12
    assert all(
        np.array_equal(a, b) for a, b in zip(images, frames_of(reversed(clips)), strict=False) if a is b
    )


@pytest.mark.parametrize(
    ("suffix", "codec", "order"), [("mkv", "libx264", 2), ("mkv", "ffv1", 3), ("mov", "mjpeg", 2)]
)
def test_interlacing_that_only_the_container_tells(
    tmp_path: Path, suffix: str, codec: str, order: int
) -> None:
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as file:
        stream = file.add_stream(
            codec, rate=25, options={"crf": "8"} if codec == "libx264" else {"b": "20000000"}
        )
        stream.height, stream.width = 96, 128
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.field_order = order
        for picture in woven(20, order == 2):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    clips = one(str(path)).clips
    images = frames_of(clips)
    assert len(images) == 20 and "is interlaced" in clips[0].note
    assert combing(images[10]) < 0.5 * combing(woven(20, order == 2)[10])


def test_progressive_video_is_left_alone(tmp_path: Path) -> None:
    (clip,) = one(film(tmp_path / "a.mp4", pan(1, 10), crf="4")).clips
    assert clip.note == "" and lowest_error(frames_of([clip])[5], pan(1, 10)[5]) < 6


def test_a_part_of_an_interlaced_video_is_the_same_however_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mpg"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg2video", rate=25, options={"flags": "+ildct+ilme", "g": "5", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        for picture in woven(30):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    whole = frames_of(one(str(path)).clips)
    clips = one(str(path), SourceOptions(fps=None, clip_length=5)).clips  # each begins at a keyframe
    for clip in reversed(clips):
        for index, image in zip(clip.indices, frames_of([clip]), strict=True):
            assert np.array_equal(image, whole[index])
