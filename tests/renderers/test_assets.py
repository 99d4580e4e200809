"""Assets: what ships, the user's own, and everything that can be wrong with a mesh file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from freelabels.renderers.scene.assets import PRIMITIVES, STATIC_CLASSES, Library, faults, library
from freelabels.renderers.scene.loading import Asset, load_asset
from freelabels.renderers.surfaces import meshes
from freelabels.renderers.surfaces.pictures import skin_colours

pytestmark = pytest.mark.renders
KEPT = os.environ["FREELABELS_CACHE"]  # what tests of other files make of what ships


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREELABELS_CACHE", str(tmp_path / "cache"))


def own(folder: Path, **files: trimesh.Trimesh | str) -> Library:
    """A library with a folder of meshes: `name__suffix` → its mesh or text."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        if isinstance(content, str):
            path.write_text(content)
        else:
            content.export(path)
    return library(own=folder)


def reason(assets: Library, name: str) -> str:
    return faults(assets, [name])[name]


@pytest.mark.slow
def test_what_ships_is_usable_but_for_the_broken_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREELABELS_CACHE", KEPT)
    assets = library()
    assert len(assets.names("random")) == 1000
    named = [*(f"primitive/{name}" for name in PRIMITIVES), *assets.names("household")]
    assert faults(assets, [*named, *assets.names("articulated"), "random/000"]) == {}
    assert "not numbers" in reason(assets, "random/168")


def test_classes_begin_with_the_static_ones_and_do_not_depend_on_the_split() -> None:
    tables = {library(split=split).classes for split in ("all", "train", "test")}
    assert len(tables) == 1
    (classes,) = tables
    assert classes[:3] == STATIC_CLASSES and "duck" in classes


def test_the_split_parts_random_assets_by_name() -> None:
    train, test = (set(library(split=split).names("random")) for split in ("train", "test"))
    assert not train & test and len(train | test) == 1000
    assert 150 < len(test) < 250
    assert library(split="test").names("household") == library(split="train").names("household")


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl", "glb"])
def test_own_meshes_of_every_kind(suffix: str, tmp_path: Path) -> None:
    shape = trimesh.creation.box((0.2, 0.4, 0.6))
    shape.apply_translation((5, 5, 5))
    assets = own(tmp_path / "own", **{f"thing__{suffix}": shape})
    asset = assets.load(f"own/thing.{suffix}")
    assert asset.cls == "thing" and "thing" in assets.classes
    assert sorted(np.round(asset.upper - asset.lower, 6)) == [0.2, 0.4, 0.6]
    np.testing.assert_allclose(asset.lower, -asset.upper)  # moved to the middle


def test_gltf_says_that_y_is_up_and_here_it_is_z(tmp_path: Path) -> None:
    tall = trimesh.creation.cone(0.2, 1.0)  # its tip lies along z
    as_gltf = tall.copy()
    as_gltf.vertices = tall.vertices[:, [0, 2, 1]] * (1, 1, -1)  # (x, y, z) → (x, z, −y): upright in glTF
    upright = own(tmp_path / "own", tall__glb=as_gltf).load("own/tall.glb").links[0].mesh.vertices
    np.testing.assert_allclose(np.ptp(upright, axis=0), (0.4, 0.4, 1.0), atol=1e-3)
    assert (np.abs(upright[upright[:, 2] > 0.49, :2]) < 1e-6).all()


def picture_of_quarters() -> Image.Image:
    """Red, green over blue, white: left and right, upper and lower."""
    quarters = np.zeros((64, 64, 3), np.uint8)
    quarters[:32, :32, 0] = quarters[:32, 32:, 1] = quarters[32:, :32, 2] = 255
    quarters[32:, 32:] = 255
    return Image.fromarray(quarters)


def tile() -> trimesh.Trimesh:
    """A flat box; its upper side shows the whole picture, x to the right and y upwards."""
    box = trimesh.creation.box((1, 1, 0.1))
    apart = trimesh.Trimesh(
        box.vertices[box.faces].reshape(-1, 3), np.arange(36).reshape(12, 3), process=False
    )
    material = trimesh.visual.texture.SimpleMaterial(image=picture_of_quarters(), diffuse=(255,) * 4)
    apart.visual = trimesh.visual.TextureVisuals(uv=apart.vertices[:, :2] + 0.5, material=material)
    return apart


@pytest.mark.parametrize("suffix", ["obj", "glb"])
@pytest.mark.parametrize("cached", [False, True])
def test_texture_maps_of_own_meshes_are_kept(suffix: str, cached: bool, tmp_path: Path) -> None:
    shape = tile()
    if cached:  # big enough to be thinned
        for _ in range(5):
            shape = shape.subdivide()
        assert len(shape.faces) > meshes.SKINNED
    if suffix == "glb":
        shape.vertices = shape.vertices[:, [0, 2, 1]] * (1, 1, -1)
    assets = own(tmp_path / "own", **{f"tile__{suffix}": shape})
    mesh = assets.load(f"own/tile.{suffix}").links[0].mesh
    assert mesh.skin is not None and mesh.skin_maps is not None
    if cached:
        load_asset.cache_clear()
        mesh = assets.load(f"own/tile.{suffix}").links[0].mesh
        assert mesh.skin is not None and mesh.skin_maps is not None and len(mesh.triangles) <= meshes.SKINNED
    middles = mesh.vertices[mesh.triangles].mean(axis=1)
    upper = np.flatnonzero(middles[:, 2] > 0.0499)
    assert len(upper) > 1
    place = (
        np.einsum("fcd,fd->fc", mesh.skin_maps[upper, :, :3], middles[upper]) + mesh.skin_maps[upper, :, 3]
    )
    np.testing.assert_allclose(place, middles[upper, :2] + 0.5, atol=1e-3)
    colours = skin_colours(mesh.skin, place.astype(np.float32), np.zeros((len(place), 2, 2), np.float32))
    x, y = middles[upper, :2].T
    clear = (np.abs(x) > 0.02) & (np.abs(y) > 0.02)
    truth = np.stack([(x < 0) == (y > 0), x > 0, y < 0], axis=1)  # red, green, blue
    np.testing.assert_allclose(colours[clear], truth[clear], atol=1e-3)


@pytest.mark.parametrize("suffix", ["obj", "ply", "glb"])
def test_a_picture_that_was_changed_beside_its_mesh_is_seen(suffix: str, tmp_path: Path) -> None:
    """What is kept of a mesh with a texture map is kept for that picture."""
    assets = own(tmp_path / "own", tile__obj=tile())
    material = next((tmp_path / "own").glob("*.mtl"))
    (picture,) = (tmp_path / "own").glob("*.png")
    material.write_text(material.read_text().replace("map_Kd", "\tmap_kd"))  # trimesh reads that as well
    if suffix != "obj":
        text = {"ply": ply_of, "glb": glb_of}[suffix](tile(), picture.name)
        (tmp_path / f"own/tile.{suffix}").write_bytes(text)
        assets = library(own=tmp_path / "own")
    seen = []
    for colour in ("red", "red", "blue"):
        Image.new("RGB", (64, 64), colour).save(picture)
        load_asset.cache_clear()
        skin = assets.load(f"own/tile.{suffix}").links[0].mesh.skin
        assert skin is not None
        seen.append(skin.picture)
    assert seen[0] == seen[1] != seen[2]


def ply_of(mesh: trimesh.Trimesh, picture: str) -> bytes:
    """A mesh with a texture map as a PLY file."""
    corners = np.hstack([mesh.vertices, mesh.visual.uv])
    lines = [
        *("ply", "format ascii 1.0", f"comment TextureFile {picture}", f"element vertex {len(corners)}"),
        *(f"property float {name}" for name in ("x", "y", "z", "s", "t")),
        *(f"element face {len(mesh.faces)}", "property list uchar int vertex_indices", "end_header"),
        *(" ".join(map(str, corner)) for corner in corners),
        *(" ".join(map(str, (3, *face))) for face in mesh.faces),
    ]
    return ("\n".join(lines) + "\n").encode()


def glb_of(mesh: trimesh.Trimesh, picture: str) -> bytes:
    """A mesh with a texture map as a GLB file whose picture lies beside it."""
    whole = trimesh.exchange.gltf.export_glb(mesh.scene())
    end = 20 + int.from_bytes(whole[12:16], "little")
    about = json.dumps({**json.loads(whole[20:end]), "images": [{"uri": picture}]}).encode()
    about += b" " * (-len(about) % 4)
    lengths = [(part + len(about)).to_bytes(4, "little") for part in (20 + len(whole) - end, 0)]
    return whole[:8] + lengths[0] + lengths[1] + whole[16:20] + about + whole[end:]


def test_the_duck_and_the_ball_keep_their_looks() -> None:
    for name in ("duck", "ball"):
        (link,) = library().load(f"household/{name}").links
        assert link.mesh.skin is not None and len(link.mesh.skin.uv) == len(link.mesh.triangles)
        assert Path(link.mesh.skin.picture).is_file()


def test_a_folder_names_the_class_of_what_lies_in_it(tmp_path: Path) -> None:
    (tmp_path / "own/chairs").mkdir(parents=True)
    trimesh.creation.box().export(tmp_path / "own/chairs/a.obj")
    assets = library(own=tmp_path / "own")
    assert assets.load("own/chairs/a.obj").cls == "chairs"


@pytest.mark.slow
def test_a_mesh_of_very_many_faces_is_thinned_once(tmp_path: Path) -> None:
    big = trimesh.creation.icosphere(subdivisions=7, radius=0.5)
    assets = own(tmp_path / "own", big__stl=big)
    asset = assets.load("own/big.stl")
    faces = len(asset.links[0].mesh.triangles)
    assert len(big.faces) > 3 * meshes.HUGE and 500 < faces <= meshes.FACES
    radius = np.linalg.norm(asset.links[0].mesh.vertices, axis=1)
    assert abs(radius - 0.5).max() < 0.01
    assert len(list((tmp_path / "cache").rglob("thinned-*"))) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none__obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\n", "has no triangles|not a readable mesh"),
        ("empty__ply", "", "not a readable mesh"),
        ("text__glb", "this is no mesh", "not a readable mesh"),
        ("nan__obj", "v nan 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\n", "not numbers"),
        ("thin__obj", "v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "zero area"),
        ("flat__obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "is flat"),
        ("point__obj", "v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n", "zero area"),
        ("bad__urdf", "<robot name='x'><link", "PyBullet can't load it"),
        ("bare__urdf", "<robot name='x'><link name='a'/></robot>", "nothing|anything to see"),
    ],
)
def test_broken_meshes_get_a_sentence_that_names_the_file(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    assets = own(tmp_path / "own", **{name: content})
    with pytest.raises(ValueError, match=message) as caught:
        assets.load("own/" + name.replace("__", "."))
    assert name.replace("__", ".") in str(caught.value)


def test_a_mesh_that_went_away(tmp_path: Path) -> None:
    assets = own(tmp_path / "own", thing__obj=trimesh.creation.box())
    (tmp_path / "own/thing.obj").unlink()
    assert "no such mesh file" in reason(assets, "own/thing.obj")


def test_folders_that_give_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no mesh"):
        library(own=tmp_path / "empty")
    with pytest.raises(ValueError, match="holds no photo"):
        library(photos=tmp_path / "empty")
    for folder in ("own", "photos"):
        with pytest.raises(ValueError, match="no such folder"):
            library(**{folder: tmp_path / "missing"})  # type: ignore[arg-type]


def test_photos_are_found(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff no more")
    assets = library(photos=tmp_path)
    assert [Path(photo).name for photo in assets.photos] == ["a.png"]
    assert [Path(photo).name for photo in assets.broken] == ["torn.jpg"]
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match="holds no photo that can be read"):
        library(photos=tmp_path)


def test_more_classes_than_a_byte_tells_apart(tmp_path: Path) -> None:
    for number in range(260):
        (tmp_path / f"{number:03d}.obj").write_text("")
    with pytest.raises(ValueError, match="gather the meshes into fewer folders"):
        library(own=tmp_path)


def test_an_unknown_asset() -> None:
    with pytest.raises(ValueError, match="no asset called 'primitive/cub'"):
        library().load("primitive/cub")


def test_a_cubes_sides_are_smooth_patches_and_a_sphere_is_one() -> None:
    cube, ball = (library().load(f"primitive/{name}").links[0].mesh for name in ("cube", "sphere"))
    assert len(np.unique(cube.patch)) == 6
    assert len(np.unique(ball.patch)) == 1


def test_articulated_assets_know_links_joints_and_rest_pose() -> None:
    droid: Asset = library().load("articulated/droid")
    assert len(droid.links) > 5 and len(droid.joints) > 3
    for link in droid.links:
        points = trimesh.transform_points(link.mesh.vertices, link.rest)
        assert (points >= droid.lower - 1e-9).all() and (points <= droid.upper + 1e-9).all()
    assert all(joint.lower < joint.upper for joint in droid.joints)


def test_the_class_of_a_mesh_is_the_first_folder_however_deep_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ShapeNet, Google Scanned Objects and YCB nest theirs."""
    for path in (
        "02691156/1a04/models/model_normalized.obj",
        "02958343/1a0b/models/model_normalized.obj",
        "shoe/meshes/model.obj",
        "mug/google_16k/textured.obj",
        "alone.obj",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        trimesh.creation.box().export(tmp_path / path)
    own = [entry for entry in library(tmp_path).entries if entry.group == "own"]
    found = {entry.name.removeprefix("own/"): entry.cls for entry in own}
    assert found == {
        "02691156/1a04/models/model_normalized.obj": "02691156",
        "02958343/1a0b/models/model_normalized.obj": "02958343",
        "shoe/meshes/model.obj": "shoe",
        "mug/google_16k/textured.obj": "mug",
        "alone.obj": "alone",
    }
