"""One sound track → mono samples at a fixed rate, each where the decoder's time stamps put it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from freelabels.generators.contract.sounds import RATE
from freelabels.pipeline.media.videos import container_of
from freelabels.pipeline.storage.uris import SourceError

Signal = NDArray[np.float32]

PREROLL = (
    0.5  # seconds decoded before the first that is asked for: codecs that overlap need what comes before
)
SLIP = (
    0.005  # seconds by which stamps may differ from the samples counted so far without anything being missing
)


def listen(uri: str, first: int, last: int) -> Signal:
    """The samples numbered first … last - 1 of a file's sound track, counted at `RATE` from time 0.

    Mono (the mean of the channels), full scale 1, (last - first,) float32; NaN where the track has none, or none
    whose time is known. Time is that of the container, which the frames of its videos have too. Raises SourceError
    or OSError if the file can't be opened.
    """
    out = np.full(last - first, np.nan, np.float32)
    # From a whole second on, where a sample of any rate coincides with one of ours: then all parts are cut alike.
    origin = math.floor(first / RATE - PREROLL)
    for seek in (True, False) if origin > 0 else (False,):
        with container_of(uri) as container:
            stream = container.streams.best("audio") if container.streams.audio else None
            if stream is None or stream.codec_context is None:
                return out
            stream.thread_type = "NONE"
            if seek:
                try:
                    container.seek(int(origin / stream.time_base), stream=stream, backward=True)
                except av.FFmpegError:
                    continue
            found = _placed(container, stream, origin, math.ceil(last / RATE) + 1, must_precede=seek)
        if found is not None:
            break
    if found is None or found[1] == 0:
        return out
    signal, rate = found
    made = _resampled(np.nan_to_num(signal, nan=0.0), rate)
    known = np.isfinite(signal)
    begin = first - origin * RATE
    at = np.arange(begin, begin + len(out))
    heard = known[np.minimum(at * rate // RATE, len(known) - 1)]
    out[heard] = made[at[heard]]
    return out


def _placed(
    container: Any, stream: Any, origin: int, end: int, must_precede: bool
) -> tuple[Signal, int] | None:
    """A track's samples from second `origin` to second `end`, NaN where there are none, and their rate.

    must_precede: None is given where the first sample that comes is later than `origin`, as after a seek too far.
    """
    signal, rate, position = np.zeros(0, np.float32), 0, None
    for stamp, here, samples in _decoded(container, stream):
        if not rate:
            rate = here
            signal = np.full((end - origin) * rate, np.nan, np.float32)
        if here != rate:
            break
        if stamp is not None:
            at = float((stamp - origin) * rate)
            if position is None and must_precede and at > 0:
                return None
            if position is None or abs(at - position) > SLIP * rate:
                position = round(at)
        if position is None:  # nothing tells when it is heard
            continue
        start, stop = max(position, 0), min(position + len(samples), len(signal))
        if start < stop:
            signal[start:stop] = samples[start - position : stop - position]
        position += len(samples)
        if position >= len(signal):
            break
    return None if must_precede and position is None else (signal, rate)


def _decoded(container: Any, stream: Any) -> Iterator[tuple[Fraction | None, int, Signal]]:
    """Time stamp in seconds, rate and mono samples of each of a track's frames; it ends where damage begins."""
    try:
        for frame in container.decode(stream):
            stamp = None if frame.pts is None else frame.pts * Fraction(frame.time_base)
            yield stamp, int(frame.sample_rate), _mono(frame)
    except (av.FFmpegError, SourceError):
        return


def _mono(frame: Any) -> Signal:
    """(N,) the mean of a frame's channels, full scale 1."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    mean = values.astype(np.float64).mean(axis=0)
    if values.dtype == np.uint8:
        mean = (mean - 128) / 128
    elif values.dtype.kind == "i":
        mean = mean / -float(np.iinfo(values.dtype).min)
    return np.asarray(mean, np.float32)


def _resampled(signal: Signal, rate: int) -> Signal:
    """A signal of some rate at `RATE`, its first sample in its place."""
    if rate == RATE:
        return signal
    from scipy.signal import resample_poly  # takes long to import

    common = math.gcd(RATE, rate)
    return np.asarray(resample_poly(signal, RATE // common, rate // common), np.float32)
