"""`image` is sRGB: whatever primaries, curve, range and depth a photo or video declares, the same light comes out.

Every input is made from one picture by the standards' formulas, written anew, and must come out as that picture.
"""

import io
import struct
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from freelabels.pipeline.media.colour import BT709, Colour, of_codes, to_srgb
from freelabels.pipeline.media.images import decode
from freelabels.pipeline.sources.decode import read
from tests.pipeline.sources.test_sources import lowest_error, one, scene

Floats = NDArray[np.float64]
RGB = NDArray[np.uint8]

D50 = np.array([0.9642, 1.0, 0.8249])
SRGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
SRGB_TO_BT2020 = np.array(
    [[0.627404, 0.329283, 0.043313], [0.069097, 0.919540, 0.011362], [0.016391, 0.088013, 0.895595]]
)
SRGB_TO_P3 = np.array([[0.822462, 0.177538, 0.0], [0.033194, 0.966806, 0.0], [0.017083, 0.072397, 0.910520]])
SRGB_TO_ADOBE = np.array([[0.715126, 0.284874, 0.0], [0.0, 1.0, 0.0], [0.0, 0.041166, 0.958834]])
# Columns of the profiles: XYZ of their primaries under D50.
P3_D50 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
ADOBE_D50 = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
PROPHOTO_D50 = np.array([[0.79767, 0.13519, 0.03134], [0.28804, 0.71188, 0.00009], [0.0, 0.0, 0.82491]])
SRGB_D50 = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])


def picture(height: int = 96, width: int = 128) -> RGB:
    """What must come out: no light above 0.8 of white, where highlights begin to be rolled off."""
    return (scene(1, height, width) * 0.85).astype(np.uint8)


def light_of(image: RGB) -> Floats:
    code = image / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def pq(nits: Floats) -> Floats:
    y = (nits / 10_000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 32)


def hlg(nits: Floats) -> Floats:
    """Of BT.2020 light on a display of 1,000 cd/m²."""
    luminance = (nits / 1000) @ np.array([0.2627, 0.6780, 0.0593])
    linear = (nits / 1000) * np.maximum(luminance, 1e-9)[..., None] ** (1 / 1.2 - 1)
    high = 0.17883277 * np.log(np.maximum(12 * linear - 0.28466892, 1e-9)) + 0.55991073
    return np.where(linear <= 1 / 12, np.sqrt(3 * linear), high)


def text(value: str) -> bytes:
    body = value.encode() + b"\0"
    return b"desc" + bytes(4) + struct.pack(">I", len(body)) + body + bytes(78)


def fixed(values: Floats) -> bytes:
    return struct.pack(f">{values.size}i", *np.rint(values.ravel() * 65536).astype(int))


def profile(
    space: bytes, tags: dict[bytes, bytes], name: str, connection: bytes = b"XYZ ", kind: bytes = b"mntr"
) -> bytes:
    """An ICC profile, version 2."""
    tags = {
        b"desc": text(name),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + fixed(D50),
    } | tags
    table, body, place = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        data += bytes(-len(data) % 4)
        table += tag + struct.pack(">II", place + len(body), len(data))
        body += data
    head = struct.pack(
        ">I4sI4s4s4s", 132 + 12 * len(tags) + len(body), b"none", 0x02100000, kind, space, connection
    )
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed(D50) + bytes(48)
    return head[:128] + table + body


def rgb_profile(columns: Floats, gamma: float, name: str) -> bytes:
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    primaries = {
        tag: b"XYZ " + bytes(4) + fixed(columns[:, k]) for k, tag in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))
    }
    return profile(b"RGB ", primaries | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve), name)


def cmyk_profile() -> bytes:
    """A printer whose cyan, magenta and yellow take away red, green and blue, and black all; evenly to the eye."""
    ramp = bytes(range(256))
    corners = []
    for index in range(16):
        c, m, y, k = (1.0 if index >> bit & 1 else 0.0 for bit in (3, 2, 1, 0))
        rgb = np.array([1 - c, 1 - m, 1 - y]) * (1 - k)
        xyz = SRGB_D50 @ rgb / D50
        f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
        corners += [(116 * f[1] - 16) * 2.55, 500 * (f[0] - f[1]) + 128, 200 * (f[1] - f[2]) + 128]
    cube = bytes(int(np.clip(round(v), 0, 255)) for v in corners)
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + fixed(np.eye(3)) + ramp * 4 + cube + ramp * 3
    return profile(b"CMYK", {b"A2B0": lut}, "Test printer", b"Lab ", b"prtr")


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


# ICC profiles


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    ("columns", "gamma", "name"),
    [(P3_D50, 2.2, "Display P3"), (ADOBE_D50, 2.19921875, "Adobe RGB"), (PROPHOTO_D50, 1.8, "ProPhoto")],
)
def test_pictures_in_other_colours_than_srgb(form: str, columns: Floats, gamma: float, name: str) -> None:
    light = light_of(picture()) @ (np.linalg.inv(columns) @ SRGB_D50).T
    coded = np.rint(np.clip(light, 0, 1) ** (1 / gamma) * 255).astype(np.uint8)
    options: dict[str, object] = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(
        form, {}
    )
    data = saved(Image.fromarray(coded), form, icc_profile=rgb_profile(columns, gamma, name), **options)
    made = decode(data)
    assert lowest_error(made.image, picture()) < (2.5 if form == "JPEG" else 1.6)
    assert lowest_error(coded, picture()) > 3 and made.colour == f"{name} (ICC)"


def test_a_profile_that_is_srgb_changes_nothing() -> None:
    for name in ("sRGB IEC61966-2.1", "c2", "whatever a camera calls it"):
        data = saved(Image.fromarray(picture()), "PNG", icc_profile=_srgb_profile(name))
        assert np.array_equal(decode(data).image, picture())
        assert decode(data).colour == f"{name} (ICC)"


def _srgb_profile(name: str) -> bytes:
    steps = np.linspace(0, 1, 1024)
    light = np.where(steps <= 0.04045, steps / 12.92, ((steps + 0.055) / 1.055) ** 2.4)
    curve = b"curv" + bytes(4) + struct.pack(">I1024H", 1024, *np.rint(light * 65535).astype(int))
    primaries = {
        tag: b"XYZ " + bytes(4) + fixed(SRGB_D50[:, k]) for k, tag in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))
    }
    return profile(b"RGB ", primaries | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve), name)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_by_another_curve(mode: str) -> None:
    grey = picture()[..., 1]
    coded = light_of(grey) ** (1 / 1.4)
    icc = profile(
        b"GRAY",
        {b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, round(1.4 * 256)) + bytes(2)},
        "Grey 1.4",
    )
    if mode == "I;16":
        image = Image.fromarray(np.rint(coded * 65535).astype(np.uint16))
    else:
        image = Image.fromarray(np.rint(coded * 255).astype(np.uint8)).convert(mode)
    made = decode(saved(image, "PNG", icc_profile=icc))
    assert lowest_error(made.image, np.repeat(grey[..., None], 3, -1)) < 1.2
    assert made.colour == "Grey 1.4 (ICC)"


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_by_its_profile(form: str) -> None:
    flat = Image.new("CMYK", (64, 64), (0, 128, 255, 0))
    flat.paste((255, 0, 0, 0), (0, 0, 32, 64))
    plain, printed = decode(saved(flat, form)), decode(saved(flat, form, icc_profile=cmyk_profile()))
    assert plain.image[0, 0].tolist() == pytest.approx([0, 255, 255], abs=3)
    assert printed.image[0, 0].tolist() == pytest.approx([0, 255, 255], abs=12)
    assert (
        150 <= printed.image[0, 60, 1] <= 170 and abs(int(plain.image[0, 60, 1]) - 127) < 4
    )  # half of L*, of the code
    assert printed.colour == "Test printer (ICC)" and "assumed" in plain.colour


def test_a_profile_that_is_broken_or_for_others_counts_as_absent() -> None:
    grey_profile = profile(
        b"GRAY", {b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, 256) + bytes(2)}, "Grey"
    )
    for icc in (b"\0" * 200, rgb_profile(P3_D50, 2.2, "P3")[:150], grey_profile, cmyk_profile()):
        made = decode(saved(Image.fromarray(picture()), "PNG", icc_profile=icc))
        assert np.array_equal(made.image, picture()) and "can't be used" in made.colour


def test_alpha_lies_over_grey_after_the_colour_is_right() -> None:
    light = light_of(picture()) @ (np.linalg.inv(P3_D50) @ SRGB_D50).T
    coded = Image.fromarray(np.rint(np.clip(light, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8))
    alpha = np.zeros((96, 128), np.uint8)
    alpha[:, :64] = 255
    coded.putalpha(Image.fromarray(alpha))
    made = decode(saved(coded, "PNG", icc_profile=rgb_profile(P3_D50, 2.2, "P3"))).image
    assert lowest_error(made[:, :64], picture()[:, :64]) < 1.6 and (made[:, 64:] == 128).all()


# Declared by numbers


def png_with(image: RGB, *chunks: tuple[bytes, bytes]) -> bytes:
    data = saved(Image.fromarray(image), "PNG")
    made = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return data[:33] + made + data[33:]


@pytest.mark.parametrize("transfer", [16, 18, 13])
def test_a_png_says_what_its_numbers_mean(transfer: int) -> None:
    nits = light_of(picture()) @ SRGB_TO_BT2020.T * 203
    code = {
        16: pq,
        18: hlg,
        13: lambda n: np.where(n / 203 <= 0.0031308, n / 203 * 12.92, 1.055 * (n / 203) ** (1 / 2.4) - 0.055),
    }
    coded = np.rint(np.clip(code[transfer](nits), 0, 1) * 255).astype(np.uint8)
    made = decode(png_with(coded, (b"cICP", bytes((9, transfer, 0, 1)))))
    assert lowest_error(made.image, picture()) < 2.5 and "BT.2020" in made.colour
    assert ("tone-mapped" in made.colour) == (transfer != 13)


def test_gamma_and_primaries_of_a_png() -> None:
    linear = np.rint(light_of(picture()) * 255).astype(np.uint8)
    assert lowest_error(decode(png_with(linear, (b"gAMA", struct.pack(">I", 100_000)))).image, picture()) < 4
    usual = png_with(picture(), (b"gAMA", struct.pack(">I", 45_455)))
    assert np.array_equal(decode(usual).image, picture())
    wide = np.rint((light_of(picture()) @ SRGB_TO_P3.T) ** (1 / 2.2) * 255).astype(np.uint8)
    p3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    made = decode(png_with(wide, (b"gAMA", struct.pack(">I", 45_455)), (b"cHRM", p3)))
    assert lowest_error(made.image, picture()) < 1.6
    said = decode(png_with(picture(), (b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100_000))))
    assert np.array_equal(said.image, picture()) and said.colour == "sRGB"


def test_cameras_say_adobe_rgb_in_exif() -> None:
    coded = np.rint((light_of(picture()) @ SRGB_TO_ADOBE.T) ** (256 / 563) * 255).astype(np.uint8)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 2
    made = decode(saved(Image.fromarray(coded), "JPEG", quality=100, subsampling=0, exif=exif))
    assert lowest_error(made.image, picture()) < 2.5 and made.colour == "Adobe RGB (EXIF)"


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_avif(transfer: int) -> None:
    nits = light_of(picture()) @ SRGB_TO_BT2020.T * 203
    coded = np.rint((pq if transfer == 16 else hlg)(nits) * 255).astype(np.uint8)
    data = bytearray(saved(Image.fromarray(coded), "AVIF", quality=100, subsampling="4:4:4"))
    place = data.find(b"colrnclx")
    data[place + 8 : place + 12] = struct.pack(">HH", 9, transfer)
    made = decode(bytes(data))
    assert lowest_error(made.image, picture()) < 4 and "tone-mapped" in made.colour


# More than eight bits


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".ppm", ".jp2"])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_deep_colour_and_few_bits_in_sixteen(suffix: str, bits: int) -> None:
    deep = np.rint(picture() / 255.0 * (2**bits - 1)).astype(np.uint16)
    deep[0, 0] = 2**bits - 1  # white somewhere
    whole, data = cv2.imencode(suffix, deep[..., ::-1])
    assert whole
    made = decode(data.tobytes())
    assert lowest_error(made.image[1:], picture()[1:]) < (1.0 if suffix == ".jp2" else 0.2) and not made.grey
    assert (f"{bits} bits by its largest value" in made.colour) == (bits < 16)


def test_deep_colour_keeps_profile_and_alpha() -> None:
    light = light_of(picture()) @ (np.linalg.inv(PROPHOTO_D50) @ SRGB_D50).T
    deep = np.rint(np.clip(light, 0, 1) ** (1 / 1.8) * 65535).astype(np.uint16)
    alpha = np.full((96, 128, 1), 65535, np.uint16)
    alpha[:, 64:] = 0
    _, data = cv2.imencode(".png", np.concatenate([deep[..., ::-1], alpha], axis=-1))
    packed = b"prophoto\0\0" + zlib.compress(rgb_profile(PROPHOTO_D50, 1.8, "ProPhoto"))
    chunk = (
        struct.pack(">I", len(packed)) + b"iCCP" + packed + struct.pack(">I", zlib.crc32(b"iCCP" + packed))
    )
    raw = data.tobytes()
    made = decode(raw[:33] + chunk + raw[33:])
    assert lowest_error(made.image[:, :64], picture()[:, :64]) < 2 and (made.image[:, 64:] == 128).all()
    assert made.colour == "ProPhoto (ICC)"


def linear_file(path: Path, light: Floats) -> Path:
    if path.suffix == ".exr":
        with av.open(str(path), "w", format="image2") as file:
            stream = file.add_stream("exr", rate=1)
            stream.height, stream.width, stream.pix_fmt = *light.shape[:2], "gbrpf32le"
            frame = av.VideoFrame.from_ndarray(light.astype(np.float32), format="gbrpf32le")
            for packet in [*stream.encode(frame), *stream.encode()]:
                file.mux(packet)
    else:
        cv2.imwrite(str(path), light[..., ::-1].astype(np.float32))
    return path


@pytest.mark.parametrize("suffix", [".exr", ".hdr", ".pfm", ".tiff"])
def test_linear_light(tmp_path: Path, suffix: str) -> None:
    light = light_of(picture())
    light[:8, :8], light[8:16, :8] = 30.0, 2.0  # a lamp and a highlight
    (spec,) = one(str(linear_file(tmp_path / f"a{suffix}", light))).clips
    made = read(spec, (96, 128)).image[0]
    assert lowest_error(made[16:], picture()[16:]) < 1.5
    assert made[:8, :8].min() >= 250 and 240 <= made[8:16, :8].min() < made[:8, :8].min()
    assert "linear" in spec.colour and "tone-mapped" in spec.colour
    (dim,) = one(str(linear_file(tmp_path / f"cd{suffix}", light * 1000))).clips  # another unit
    assert "exposed by" in dim.colour and 60 < np.median(read(dim, (96, 128)).image.max(axis=-1)) < 180


@pytest.mark.parametrize("suffix", [".exr", ".pfm", ".tiff"])
def test_directions_and_flow_are_no_light(tmp_path: Path, suffix: str) -> None:
    vectors = np.random.default_rng(0).normal(size=(64, 64, 3))
    found = one(str(linear_file(tmp_path / f"a{suffix}", vectors)))
    assert not found.clips and "not brightnesses" in found.refusals[0].reason


def test_highlights_are_rolled_off_in_order_and_keep_their_hue() -> None:
    ramp = np.linspace(0, 60, 4000)[None, :, None] * np.array([1.0, 0.5, 0.25])
    made = to_srgb(ramp.astype(np.float32), Colour(transfer="linear")).astype(int)
    assert (np.diff(made[0], axis=0) >= 0).all() and made[0, -1, 0] == 255
    bright = light_of(made[0, 200:].astype(np.uint8))
    np.testing.assert_allclose(bright[:, 1] / bright[:, 0], 0.5, atol=0.02)
    assert of_codes(1, 13).is_srgb and of_codes(2, 2).is_srgb and of_codes(1, 13).primaries == BT709
