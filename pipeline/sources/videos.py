"""One video file → upright frames with time stamps, streamed; never more than a few frames in memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation
from numpy.typing import NDArray

from freelabels.pipeline.sources.cuts import THUMB
from freelabels.pipeline.storage.uris import SourceError, is_remote, open_file, plain_errors

RGB = NDArray[np.uint8]
HD_HEIGHT = 720  # untagged video is BT.709 from here on, BT.601 below, as players take it
SEEK_MARGIN = 10  # seconds to go further back when the first seek landed behind the frame asked for
MIN_ASPECT = 0.25  # narrower pixels than this are a mistake in the file
UNSPECIFIED = 2  # colour matrix code of ISO/IEC 23091-2


@dataclass(frozen=True)
class DecodedFrame:
    """A decoded frame: its number since decoding began, its time stamp (None: none), its pixels' shape."""

    index: int
    pts: int | None
    seconds: float
    picture: av.VideoFrame
    pixel_aspect: float

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), upright and with square pixels."""
        height, width = self._square
        return (height, width) if self._turns % 2 == 0 else (width, height)

    @property
    def _turns(self) -> int:
        """Quarter turns anticlockwise that make the frame upright."""
        return round(self.picture.rotation / 90) % 4

    @property
    def _square(self) -> tuple[int, int]:
        """(height, width) as decoded, widened to square pixels."""
        return self.picture.height, max(1, round(self.picture.width * self.pixel_aspect))

    def rgb(self, size: tuple[int, int] | None = None) -> RGB:
        """(h, w, 3) uint8 sRGB, upright; size: (height, width) to shrink to before it is turned."""
        frame = self.picture
        height, width = size or self._square
        untagged = int(frame.colorspace) == UNSPECIFIED
        matrix = (Colorspace.ITU709 if frame.height >= HD_HEIGHT else Colorspace.ITU601) if untagged else None
        plain = frame.reformat(
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=matrix,
            interpolation=Interpolation.AREA if size else Interpolation.BICUBIC,
        ).to_ndarray()
        return np.ascontiguousarray(np.rot90(plain, self._turns))


def frame_rate(stream: Any) -> float:
    """Frames a second as far as the file knows, else 25."""
    return float(stream.guessed_rate or stream.average_rate or 25)


def promised_seconds(container: Any, stream: Any) -> float:
    """How long the file says it lasts, 0 if it doesn't."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return float(container.duration or 0) / av.time_base


def checksum_of(thumb: RGB) -> int:
    """The CRC-32 of a thumb: tells whether a frame decoded after a seek is the one it should be."""
    return zlib.crc32(thumb.tobytes())


@contextmanager
def opened(uri: str) -> Iterator[tuple[Any, Any]]:
    """The PyAV container and video stream of `uri`. Raises SourceError."""
    with ExitStack() as stack:
        stack.enter_context(plain_errors(uri))
        file = stack.enter_context(open_file(uri)) if is_remote(uri) else uri
        try:
            container = av.open(file)
        except av.FFmpegError as error:
            raise SourceError(_sentence(error)) from error
        with container:
            if not container.streams.video:
                raise SourceError("holds no video")
            stream = container.streams.video[0]
            stream.thread_type = "NONE"  # parallelism belongs to the runner
            stream.codec_context.thread_count = 1
            yield container, stream


def _sentence(error: av.FFmpegError) -> str:
    if isinstance(error, av.InvalidDataError):
        return "is not a whole video: its index or header is missing or damaged"
    return f"can't be decoded ({error.strerror or type(error).__name__})"


def frames(container: Any, stream: Any) -> Iterator[DecodedFrame]:
    """Decode from where the container stands up to the end or to the first damaged frame.

    A damaged frame raises SourceError once the whole ones before it are out.
    """
    rate, index = frame_rate(stream), 0
    aspect = float(stream.sample_aspect_ratio or 1)
    if not MIN_ASPECT <= aspect <= 1 / MIN_ASPECT:
        aspect = 1.0
    try:
        for picture in container.decode(stream):
            if picture.is_corrupt:
                raise SourceError("is damaged")
            pts = picture.pts
            seconds = float(pts * stream.time_base) if pts is not None else index / rate
            yield DecodedFrame(index, pts, seconds, picture, aspect)
            index += 1
    except av.FFmpegError as error:
        raise SourceError(_sentence(error)) from error


def pick(uri: str, indices: Sequence[int], pts: Sequence[int], checksum: int) -> Iterator[DecodedFrame]:
    """The frames numbered `indices` of a video, the same pixels however often they are asked for.

    pts: their time stamps if the file has usable ones; then the keyframe before is sought and only a group of
    pictures is decoded. `checksum` of the first frame tells whether that gave the same picture as decoding
    from the start (it may not, where groups are open); if not, the file is decoded from the start.
    """
    with opened(uri) as (container, stream):
        for back in (0, SEEK_MARGIN) if pts else ():
            container.seek(pts[0] - int(back / stream.time_base), stream=stream, backward=True)
            stream_frames = frames(container, stream)
            wanted = dict.fromkeys(pts)
            first = next((f for f in stream_frames if f.pts is not None and f.pts >= pts[0]), None)
            if first and first.pts == pts[0] and checksum_of(first.rgb(THUMB)) == checksum:
                yield first
                del wanted[pts[0]]
                while wanted:
                    frame = next(stream_frames, None)
                    if frame is None:
                        raise SourceError("is shorter than it was")
                    if frame.pts in wanted:
                        del wanted[frame.pts]
                        yield frame
                return
    left = set(indices)
    with opened(uri) as (container, stream):
        for frame in frames(container, stream):
            if frame.index in left:
                left.remove(frame.index)
                yield frame
            if not left:
                return
    raise SourceError("is shorter than it was")
