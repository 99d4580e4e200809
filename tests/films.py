"""Small films with a sound track, for tests."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float64]


def clap(seconds: float, at: float, rate: int, level: float = 0.8) -> Wave:
    """Faint noise with one clap that begins at a time."""
    rng = np.random.default_rng(0)
    wave = 0.004 * rng.normal(size=round(seconds * rate))
    burst = level * np.exp(-np.arange(round(0.03 * rate)) / (0.008 * rate))
    start = round(at * rate)
    wave[start : start + len(burst)] += burst * np.sign(rng.normal(size=len(burst)))
    return np.clip(wave, -1, 1)


def talkie(
    path: Path,
    wave: Wave,
    rate: int = 48_000,
    frames: int = 30,
    fps: int = 10,
    codec: str = "aac",
    begin: float = 0.0,
    late: float = 0.0,
    stereo: bool = False,
    side: int = 32,
) -> Path:
    """A film that begins at `begin` seconds, its sound `late` seconds after that."""
    rng = np.random.default_rng(1)
    ground = rng.integers(0, 256, (side, side + frames, 3), np.uint8)
    with av.open(str(path), "w") as file:
        film = file.add_stream("mpeg4", rate=fps)
        film.height, film.width, film.pix_fmt = side, side, "yuv420p"
        film.codec_context.time_base = Fraction(1, 1000)
        track = file.add_stream(codec, rate=rate, layout="stereo" if stereo else "mono")
        track.codec_context.time_base = Fraction(1, rate)
        packets = []
        for number in range(frames):
            picture = np.ascontiguousarray(ground[:, number : number + side])
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(1000 * (begin + number / fps)), Fraction(1, 1000)
            packets += film.encode(frame)
        packets += film.encode()
        kind = track.codec_context.format.name
        size = track.codec_context.frame_size or 1024
        for start in range(0, len(wave), size):
            part = wave[start : start + size]
            packed = part[None] if not stereo else np.stack([part, 0.5 * part])
            whole = {"s16": np.int16, "s32": np.int32}.get(kind.removesuffix("p"))
            packed = np.rint(packed * 32767 / 32768 * -np.iinfo(whole).min) if whole else packed
            packed = packed.astype(whole or np.float32)
            if not kind.endswith("p"):
                packed = packed.T.reshape(1, -1)
            sound = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(packed), format=kind, layout="stereo" if stereo else "mono"
            )
            sound.sample_rate, sound.time_base = rate, Fraction(1, rate)
            sound.pts = round((begin + late) * rate) + start
            packets += track.encode(sound)
        packets += track.encode()
        for packet in sorted(packets, key=lambda p: float((p.dts or 0) * p.time_base)):
            file.mux(packet)
    return path
