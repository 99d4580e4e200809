"""A video stream's packets → decoded pictures: what is damaged is left out, and where it was there is a gap."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import av

from freelabels.pipeline.storage.uris import SourceError

READ_FAILURES = 100  # in a row, after which there is nothing left to read
SOON = 2  # packets after a mark of the demuxer's that stamps of another recording come with at the latest

Packet = Any  # PyAV's, which is generic over the kind of stream


@dataclass(frozen=True)
class Gap:
    """About so many frames that could not be decoded; the next frame doesn't follow the last one."""

    frames: int


def sentence(error: av.FFmpegError) -> str:
    """Why a video can't be used."""
    if isinstance(error, av.InvalidDataError):
        return "is not a whole video: its index or header is missing or damaged"
    return f"can't be decoded ({error.strerror or type(error).__name__})"


def pictures_of(container: Any, stream: Any) -> Iterator[av.VideoFrame | Gap]:
    """Decode to the end: what is damaged is left out up to the next keyframe.

    Raises SourceError if nothing can be decoded at all.
    """
    codec = stream.codec_context
    lost = whole = 0
    broken: av.FFmpegError | None = None
    waiting = False  # for a keyframe

    def kept(pictures: list[av.VideoFrame]) -> Iterator[av.VideoFrame | Gap]:
        nonlocal lost, waiting, whole
        for picture in pictures:
            waiting |= picture.is_corrupt
            if waiting and (picture.is_corrupt or not picture.key_frame):
                lost += 1
                continue
            if lost:
                yield Gap(lost)
            lost, waiting, whole = 0, False, whole + 1
            yield picture

    for packet in _packets(container, stream):
        if isinstance(packet, av.Packet):
            try:
                yield from kept(packet.decode())
                continue
            except av.EOFError:
                continue
            except av.FFmpegError as error:
                broken = error
        elif packet is not None:
            broken = packet
        yield from kept(_drained(codec))
        waiting, lost = True, lost + 1
    if not whole and (broken or lost):
        raise SourceError(sentence(broken) if broken else "is damaged: not one frame can be decoded")
    if lost:
        yield Gap(lost)


def _packets(container: Any, stream: Any) -> Iterator[Packet | av.FFmpegError | None]:
    """A stream's packets; an error where reading fails; None instead of one that lacks its beginning.

    The demuxer marks a packet after which a piece is missing. Where stamps soon begin again, nothing is missing:
    recordings were joined.
    """
    coming: deque[Packet | av.FFmpegError] = deque()
    read = _read(container, stream)
    suspect, last = False, 0
    while True:
        while len(coming) <= SOON and (one := next(read, None)) is not None:
            coming.append(one)
        if not coming:
            return
        packet = coming.popleft()
        if not isinstance(packet, av.Packet):
            yield packet
            continue
        stamps = [last, *(p.dts for p in (packet, *coming) if isinstance(p, av.Packet) and p.dts is not None)]
        joined = any(later < earlier for earlier, later in pairwise(stamps))
        yield None if suspect and packet.size and not joined else packet
        suspect, last = packet.is_corrupt, stamps[min(1, len(stamps) - 1)]


def _read(container: Any, stream: Any) -> Iterator[Packet | av.FFmpegError]:
    """What the demuxer gives; after an error it is asked again, what follows may be readable."""
    failures, packets = 0, container.demux(stream)
    while failures < READ_FAILURES:
        try:
            for packet in packets:
                failures = 0
                yield packet
            return
        except av.FFmpegError as error:
            failures, packets = failures + 1, container.demux(stream)
            if failures == 1:
                yield error


def _drained(codec: Any) -> list[av.VideoFrame]:
    """What a decoder still holds when it meets damage; then it is as new."""
    held: list[av.VideoFrame] = []
    with suppress(av.FFmpegError):
        held = codec.decode(None)
    codec.flush_buffers()
    return held
