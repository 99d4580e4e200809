"""One video file → upright frames with time stamps, streamed; never more than a few frames in memory."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray

from freelabels.pipeline.media import colour
from freelabels.pipeline.media.cuts import THUMB
from freelabels.pipeline.media.images import TRANSPOSED, upright
from freelabels.pipeline.media.interlace import PARITY, Deinterlacer
from freelabels.pipeline.media.pictures import Gap, pictures_of, sentence
from freelabels.pipeline.storage.uris import SourceError, is_inside, is_remote, open_file, plain_errors

RGB = NDArray[np.uint8]
SEEK_MARGIN = 10  # seconds to go further back when the first seek landed behind the frame asked for
MIN_ASPECT = 0.25  # narrower pixels than this are a mistake in the file
PEEK = 12  # pictures that are asked whether they say themselves that they are interlaced
COVERS = Disposition.attached_pic | Disposition.timed_thumbnails

# Untagged video is BT.709 from either on, BT.601 below, as players take it.
HD_WIDTH, HD_HEIGHT = 1280, 577
UNSPECIFIED, RESERVED = 2, 3  # codes of ISO/IEC 23091-2
MATRICES = {1: "BT.709", 4: "FCC", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 9: "BT.2020", 10: "BT.2020"}
MATRIX_OF_PRIMARIES = {1: Colorspace.ITU709, 5: Colorspace.ITU601, 6: Colorspace.ITU601, 9: Colorspace.BT2020}
UNCONVERTIBLE = (
    11,
    14,
    15,
    16,
    17,
)  # matrices that neither FFmpeg's scaler nor this can undo, ICtCp above all

# The four numbers of a display matrix that turn, as signs → EXIF's name for it.
ORIENTATIONS = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}


@dataclass(frozen=True)
class DecodedFrame:
    """A decoded frame.

    index: its number since decoding began, counting those lost. pts: its time stamp, None if it has none.
    orientation: as EXIF numbers it. interlaced: whether it was, before `picture` was made of it. key:
    whether it needs no other to be decoded.
    """

    index: int
    pts: int | None
    seconds: float
    picture: av.VideoFrame
    pixel_aspect: float
    orientation: int = 1
    interlaced: bool = False
    key: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), upright and with square pixels."""
        height, width = self._square
        return (width, height) if self.orientation in TRANSPOSED else (height, width)

    @property
    def _square(self) -> tuple[int, int]:
        """(height, width) as decoded, widened to square pixels."""
        return self.picture.height, max(1, round(self.picture.width * self.pixel_aspect))

    @cached_property
    def colour(self) -> colour.Colour:
        """What its numbers mean once they are RGB; what was not declared is marked as assumed."""
        frame = self.picture
        meant = colour.of_codes(int(frame.color_primaries), int(frame.color_trc))
        coded = int(frame.colorspace)
        if not _is_yuv(frame):
            return colour.Colour(f"{meant.name}, RGB", meant.primaries, meant.transfer)
        matrix = _assumed_matrix(frame) if coded in (UNSPECIFIED, RESERVED) else None
        name = MATRICES.get(coded, str(coded)) if matrix is None else f"{MATRICES[int(matrix)]} (assumed)"
        full = frame.format.name.startswith("yuvj") or frame.color_range == ColorRange.JPEG
        tagged = full or frame.color_range == ColorRange.MPEG
        span = f"{'full' if full else 'limited'} range{'' if tagged else ' (assumed)'}"
        return colour.Colour(f"{meant.name}, matrix {name}, {span}", meant.primaries, meant.transfer)

    def rgb(self, size: tuple[int, int] | None = None) -> RGB:
        """(h, w, 3) uint8 sRGB, upright; size: (height, width) to shrink to before it is turned."""
        frame = self.picture
        height, width = size or self._square
        coded = int(frame.colorspace)
        if coded in UNCONVERTIBLE:
            raise SourceError(f"its colours are coded in a way that can't be converted (matrix {coded})")
        plain = self.colour.is_srgb
        made: Any = frame.reformat(
            width=width,
            height=height,
            format="rgb24" if plain else "rgb48le",
            src_colorspace=_assumed_matrix(frame) if coded in (UNSPECIFIED, RESERVED) else None,
            interpolation=Interpolation.AREA if size else Interpolation.BICUBIC,
        ).to_ndarray()
        return upright(made if plain else colour.to_srgb(made, self.colour), self.orientation)


def _is_yuv(frame: av.VideoFrame) -> bool:
    return not frame.format.is_rgb and not frame.format.has_palette and len(frame.format.components) > 2


def _assumed_matrix(frame: av.VideoFrame) -> Colorspace:
    """Of a frame that doesn't say: as its primaries suggest, else by its size."""
    hd = frame.height >= HD_HEIGHT or frame.width >= HD_WIDTH
    by_size = Colorspace.ITU709 if hd else Colorspace.ITU601
    return MATRIX_OF_PRIMARIES.get(int(frame.color_primaries), by_size)


def orientation_of(picture: av.VideoFrame) -> int:
    """EXIF's number (1..8) of how a picture must be turned and mirrored, the nearest to its display matrix."""
    side: Any = picture.side_data.get("DISPLAYMATRIX")
    if side is None:
        return 1
    a, b, _, c, d = np.frombuffer(bytes(side), "<i4")[:5].astype(float)
    return max(ORIENTATIONS.items(), key=lambda entry: float(np.dot(entry[0], (a, b, c, d))))[1]


def checksum_of(thumb: RGB) -> int:
    """The CRC-32 of a thumb: tells whether a frame decoded after a seek is the one it should be."""
    return zlib.crc32(thumb.tobytes())


@dataclass(frozen=True)
class Video:
    """An open video: PyAV's container, the stream that is used, and how many it could have been.

    field_order: FFmpeg's number, if only the container says that the pictures are interlaced, else 0.
    """

    container: Any
    stream: Any
    streams: int = 1
    field_order: int = 0

    @property
    def rate(self) -> float:
        """Frames a second as far as the file knows, else 25."""
        return float(self.stream.guessed_rate or self.stream.average_rate or 25)

    @property
    def promised_seconds(self) -> float:
        """How long the file says it lasts, 0 if it doesn't."""
        if self.stream.duration and self.stream.time_base:
            return float(self.stream.duration * self.stream.time_base)
        return float(self.container.duration or 0) / av.time_base

    @property
    def broadcast(self) -> bool:
        """Whether its container is made for the air or for discs, where pictures come at a constant rate."""
        return self.container.format.name in ("mpegts", "mpeg")

    @property
    def has_sound(self) -> bool:
        """Whether the file has a sound track that can be decoded."""
        return bool(self.container.streams.audio) and self.container.streams.best("audio") is not None

    def seek(self, pts: int, seconds_back: float) -> None:
        """Go to the last keyframe that is at least so many seconds before a time stamp."""
        self.container.seek(
            pts - int(seconds_back / self.stream.time_base), stream=self.stream, backward=True
        )

    def frames(self) -> Iterator[DecodedFrame | Gap]:
        """Decode from where the container stands to the end, deinterlaced; where frames are lost there is a gap.

        Raises SourceError if damage leaves not one that can be decoded.
        """
        aspect = float(self.stream.sample_aspect_ratio or 1)
        if not MIN_ASPECT <= aspect <= 1 / MIN_ASPECT:
            aspect = 1.0
        index, seconds, fields = 0, -1 / self.rate, Deinterlacer(self.field_order)

        def framed(ready: Iterator[tuple[av.VideoFrame, av.VideoFrame]]) -> Iterator[DecodedFrame]:
            nonlocal index, seconds
            for came, made in ready:
                known = came.pts is not None and self.stream.time_base is not None
                seconds = float(came.pts * self.stream.time_base) if known else seconds + 1 / self.rate
                turned, interlaced = orientation_of(came), bool(came.interlaced_frame or self.field_order)
                yield DecodedFrame(
                    index, came.pts, seconds, made, aspect, turned, interlaced, bool(came.key_frame)
                )
                index += 1

        last: int | None = None
        for picture in pictures_of(self.container, self.stream):
            if isinstance(picture, Gap):
                yield from framed(fields.flush())
                index += picture.frames
                yield picture
                continue
            if last is not None and picture.pts is not None and picture.pts < last:
                yield from framed(fields.flush())
            last = picture.pts
            yield from framed(fields.feed(picture))
        yield from framed(fields.flush())


@contextmanager
def opened(uri: str, number: int = 0) -> Iterator[Video]:
    """The video of `uri`; number: of its video streams, covers aside, counted from 0. Raises SourceError."""
    with _streamed(uri, number) as video:
        order = video.stream.codec_context.field_order
        if order not in PARITY:
            yield video
            return
        pictures = islice(pictures_of(video.container, video.stream), PEEK)
        if any(isinstance(one, av.VideoFrame) and one.interlaced_frame for one in pictures):
            order = 0
    with _streamed(uri, number) as video:
        yield Video(video.container, video.stream, video.streams, order)


@contextmanager
def _streamed(uri: str, number: int) -> Iterator[Video]:
    with container_of(uri) as container:
        streams = [s for s in container.streams.video if not s.disposition & COVERS]
        if not streams:
            raise SourceError("holds no video")
        if number >= len(streams):
            raise SourceError(f"has no video stream {number}: it holds {len(streams)}, counted from 0")
        stream = streams[number]
        if stream.codec_context is None:
            raise SourceError("can't be decoded (its codec is unknown)")
        stream.thread_type = "NONE"  # parallelism belongs to the runner
        stream.codec_context.thread_count = 1
        yield Video(container, stream, len(streams))


@contextmanager
def container_of(uri: str) -> Iterator[Any]:
    """PyAV's container of `uri`, open. Raises SourceError."""
    with ExitStack() as stack:
        stack.enter_context(plain_errors(uri))
        file = stack.enter_context(open_file(uri)) if is_remote(uri) or is_inside(uri) else uri
        try:
            container = av.open(file)
        except av.FFmpegError as error:
            raise SourceError(sentence(error)) from error
        with container:
            yield container


def pick(
    uri: str,
    indices: Sequence[int],
    pts: Sequence[int],
    checksum: int,
    number: int = 0,
    between: Collection[int] = (),
) -> Iterator[DecodedFrame]:
    """The frames numbered `indices` of a video, the same pixels however often they are asked for.

    And, as they come, those numbered `between`; `index` is each one's number.

    pts: their time stamps if the file has usable ones; then the keyframe before is sought and only a group of
    pictures is decoded. `checksum` of the first frame tells whether that gave the same picture as decoding
    from the start (it may not, where groups are open); if not, the file is decoded from the start.
    number: of the video stream.
    """
    with opened(uri, number) as video:
        for back in (0, SEEK_MARGIN) if pts else ():
            try:
                video.seek(pts[0], back)
                following = (one for one in video.frames() if isinstance(one, DecodedFrame))
                first = next((f for f in following if f.pts is not None and f.pts >= pts[0]), None)
            except (SourceError, av.FFmpegError):  # this file can't be sought in
                continue
            alone = first is not None and first.interlaced and first.index == 0  # it lacks the one before
            if first and first.pts == pts[0] and not alone and checksum_of(first.rgb(THUMB)) == checksum:
                yield replace(first, index=indices[0])
                left = dict(zip(pts[1:], indices[1:], strict=True))
                while left:
                    frame = next(following, None)
                    if frame is None:
                        raise SourceError("is shorter than it was")
                    if frame.pts in left:
                        yield replace(frame, index=left.pop(frame.pts))
                    elif (count := frame.index - first.index + indices[0]) in between:
                        yield replace(frame, index=count)
                return
    wanted, others = set(indices), set(between)
    with opened(uri, number) as video:
        for one in video.frames():
            if isinstance(one, DecodedFrame) and (one.index in wanted or one.index in others):
                wanted.discard(one.index)
                yield one
            if not wanted:
                return
    raise SourceError("is shorter than it was")
