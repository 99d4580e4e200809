"""Words that come with pictures are kept as tags, with the file that told them, and change nothing else."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from freelabels import Dataset, label
from freelabels.pipeline.sources.clip_specs import ClipSpec
from freelabels.pipeline.sources.layouts import texts
from freelabels.pipeline.sources.tags import LONGEST, MOST
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster
from tests.pipeline.sources.test_archives import clips_of, png, write_tar, write_zip
from tests.pipeline.sources.test_sources import pan, save, scene
from tests.sources import moving_frames, write_video

SAMPLES = {
    "0001.png": png(1),
    "0001.txt": b"a dog  on\na sofa",
    "0001.json": json.dumps(
        {"caption": "ein Hund", "tags": ["dog", "sofa"], "url": "x", "width": 3}
    ).encode(),
    "0002.png": png(2),
    "0002.cls": b"7",
    "0003.png": png(3),
    "0003.txt": b"0 0.5 0.5 0.2 0.1\n1 .1 .1 1e-2 3",  # boxes are no words
    "0004.seg.png": png(4),
}


def tags_of(source: str) -> dict[str, list[tuple[str, str, str]]]:
    clips, refused, _ = clips_of(source)
    assert refused == []
    return {clip.uris[0].rpartition("/")[2]: list(clip.tags) for clip in clips}


def test_webdataset_samples_are_photos_with_their_words(tmp_path: Path) -> None:
    write_tar(tmp_path / "00.tar", SAMPLES)
    clips, _, _ = clips_of(str(tmp_path))
    assert {clip.kind for clip in clips} == {"photo"} and len(clips) == 4
    said = tags_of(str(tmp_path))
    assert said["0001.png"] == [
        ("text", "a dog on a sofa", "0001.txt"),
        ("caption", "ein Hund", "0001.json: caption"),
        ("tags", "dog", "0001.json: tags"),
        ("tags", "sofa", "0001.json: tags"),
    ]
    assert said["0002.png"] == [("class", "7", "0002.cls")]
    assert said["0003.png"] == said["0004.seg.png"] == []


def test_frames_in_an_archive_with_a_few_words_stay_a_sequence(tmp_path: Path) -> None:
    for k, frame in enumerate(pan(1, 5)):
        save(tmp_path / "in" / f"{k}.png", frame)
    files = {path.name: path.read_bytes() for path in sorted((tmp_path / "in").iterdir())}
    [clip] = clips_of(str(write_zip(tmp_path / "a.zip", files | {"1.txt": b"it begins"})))[0]
    assert (clip.kind, clip.frames) == ("sequence", 5)
    assert clip.tags == (("text", "it begins", "1.txt"),)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "tsv"])
@pytest.mark.parametrize("packed", [False, True])
def test_hugging_face_folders(tmp_path: Path, kind: str, packed: bool) -> None:
    root = tmp_path / "folder"
    save(root / "train" / "cats" / "b.png", scene(1))
    save(root / "train" / "a.png", scene(2))
    write_video(root / "train" / "film.mp4", moving_frames(4))
    rows = [
        {"file_name": "cats/b.png", "text": "two, cats", "licence": "?"},
        {"file_name": "film.mp4", "text": "a pan", "licence": "?"},
    ]
    table = root / "train" / f"metadata.{kind}"
    if kind == "jsonl":
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with table.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if kind == "tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    source = root
    if packed:
        files = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        source = write_zip(tmp_path / "all.zip", files)
    said = tags_of(str(source))
    assert said["b.png"] == [("text", "two, cats", f"train/metadata.{kind}")]
    assert said["film.mp4"] == [("text", "a pan", f"train/metadata.{kind}")]
    assert said["a.png"] == []


def test_poses_and_cameras_beside_frames_are_no_words(tmp_path: Path) -> None:
    for k, frame in enumerate(pan(2, 4)):
        save(tmp_path / f"frame-{k:06}.color.png", frame)
        (tmp_path / f"frame-{k:06}.pose.txt").write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1")
    [clip] = clips_of(str(tmp_path))[0]
    assert clip.tags == () and len(clip.poses) == 4


def test_words_that_cant_be_read_cost_themselves(tmp_path: Path) -> None:
    save(tmp_path / "a.png", scene(1))
    save(tmp_path / "b.png", scene(2))
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00caption")
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "metadata.jsonl").write_text("{]")
    clips, refused, _ = clips_of(str(tmp_path))
    assert len(clips) == 2
    assert {Path(one.uri).name: one.reason for one in refused} == {
        "a.txt": "its words are not UTF-8 text",
        "metadata.jsonl": "its words can't be read: it is no table of that kind",
    }


def test_long_and_many_words_are_cut(tmp_path: Path) -> None:
    save(tmp_path / "a.png", scene(1))
    (tmp_path / "a.txt").write_text("x" * (2 * LONGEST))
    (tmp_path / "a.json").write_text(json.dumps({"tags": [str(k) for k in range(3 * MOST)]}))
    said = tags_of(str(tmp_path))["a.png"]
    assert len(said[0][1]) == LONGEST and len(said) == MOST


def test_words_change_no_clip_and_no_shard_but_what_it_says_of_them(tmp_path: Path) -> None:
    save(tmp_path / "plain" / "a.png", scene(1))
    save(tmp_path / "said" / "a.png", scene(1))
    (tmp_path / "said" / "a.txt").write_text("a picture")
    quiet = {
        "labels": ["edges"],
        "size": (32, 32),
        "cluster": Cluster(workers=0),
        "reporter": Reporter("quiet"),
    }
    for name in ("plain", "said"):
        label([tmp_path / name], tmp_path / f"{name}-labels", **quiet)  # type: ignore[arg-type]
    plain, said = (Dataset(tmp_path / f"{name}-labels") for name in ("plain", "said"))
    assert plain.shards() == said.shards()
    [shard], [other] = said.open_all(said.shards()), plain.open_all(plain.shards())
    assert shard.clips[0].pop("tags") == [{"kind": "text", "text": "a picture", "origin": "a.txt"}]
    for clip in (shard.clips[0], other.clips[0]):
        clip["source"], clip["spec"]["uris"] = [], []
    assert shard.clips == other.clips
    assert plain.tags() == []
    [tag] = said.tags()
    assert (tag.kind, tag.text, tag.origin) == ("text", "a picture", "a.txt")
    assert (tag.shard, tag.clip, Path(tag.source).name) == (said.shards()[0], 0, "a.png")


# Parquet


def parquet(
    path: Path, columns: dict[str, list[object]], rows_a_group: int = 5, features: object = None
) -> Path:
    table = pa.table(columns)
    if features:
        told = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": told})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows_a_group)
    return path


def test_parquet_rows_are_photos_with_their_columns(tmp_path: Path) -> None:
    count = 12
    pictures: list[object] = [{"bytes": png(k, 32), "path": f"{k}.png"} for k in range(count)]
    pictures[4] = {"bytes": None, "path": "gone.png"}
    columns: dict[str, list[object]] = {
        "image": pictures,
        "label": [k % 2 for k in range(count)],
        "captions": [[f"picture {k}", "seen"] for k in range(count)],
        "id": [f"id-{k}" for k in range(count)],
    }
    names = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    path = parquet(tmp_path / "train-00000.parquet", columns, features=names)
    clips, refused, _ = clips_of(str(tmp_path))
    assert len(clips) == 11 and {clip.kind for clip in clips} == {"photo"}
    assert [one.reason for one in refused] == ["holds no picture in this row"]
    assert clips[6].uris == (f"{path}!/image/000000007.png",)
    assert clips[6].tags == (
        ("label", "dog", "train-00000.parquet: column label"),
        ("captions", "picture 7", "train-00000.parquet: column captions"),
        ("captions", "seen", "train-00000.parquet: column captions"),
    )


def test_parquet_columns_of_bytes_and_videos(tmp_path: Path) -> None:
    film = write_video(tmp_path / "in" / "film.mp4", moving_frames(5)).read_bytes()
    other = write_video(tmp_path / "in" / "other.mp4", moving_frames(7)).read_bytes()
    columns: dict[str, list[object]] = {"jpg": [png(1), png(2)], "mp4": [film, other], "hash": [b"ab", b"cd"]}
    clips, refused, _ = clips_of(str(parquet(tmp_path / "a.parquet", columns)))
    assert refused == []
    assert [(clip.kind, clip.frames) for clip in clips] == [
        ("photo", 1),
        ("photo", 1),
        ("video", 5),
        ("video", 7),
    ]


def test_parquet_without_pictures_is_one_line(tmp_path: Path) -> None:
    for k in range(3):
        parquet(tmp_path / f"{k}.parquet", {"a": [1, 2], "image": [{"bytes": None, "path": "x.png"}] * 2})
    save(tmp_path / "z.png", scene(1))
    clips, refused, [passed] = clips_of(str(tmp_path))
    assert len(clips) == 1 and refused == []
    assert (passed.count, passed.reason) == (3, "Parquet tables without a column of pictures")


def test_frames_of_episodes_are_sequences(tmp_path: Path) -> None:
    shots = [*pan(1, 4), *pan(2, 5)]
    cells: list[object] = []
    for k, frame in enumerate(shots):
        save(tmp_path / "in" / f"{k}.png", frame)
        cells.append({"bytes": (tmp_path / "in" / f"{k}.png").read_bytes(), "path": f"{k}.png"})
    columns: dict[str, list[object]] = {
        "observation.images.top": cells,
        "episode_index": [0] * 4 + [1] * 5,
        "timestamp": [k / 20 for k in (*range(4), *range(5))],
    }
    clips, refused, _ = clips_of(str(parquet(tmp_path / "file-000.parquet", columns)))
    assert refused == []
    assert [(clip.kind, clip.frames, clip.rate) for clip in clips] == [
        ("sequence", 4, 20.0),
        ("sequence", 5, 20.0),
    ]


# LeRobot


def lerobot(root: Path, lengths: list[int], version: str = "v3.0") -> Path:
    """Episodes of one scene in one video, so that no cut can be seen between them."""
    frames = moving_frames(sum(lengths))
    write_video(root / "videos" / "observation.images.front" / "chunk-000" / "file-000.mp4", frames, 20)
    info = {"codebase_version": version, "fps": 20, "total_episodes": len(lengths)}
    (root / "meta").mkdir()
    (root / texts.LEROBOT).write_text(json.dumps(info))
    ends = [sum(lengths[: k + 1]) / 20 for k in range(len(lengths))]
    key = "videos/observation.images.front"
    columns: dict[str, list[object]] = {
        "episode_index": list(range(len(lengths))),
        "tasks": [[f"pick up {k}"] for k in range(len(lengths))],
        f"{key}/chunk_index": [0] * len(lengths),
        f"{key}/file_index": [0] * len(lengths),
        f"{key}/from_timestamp": [0.0, *ends[:-1]],
        f"{key}/to_timestamp": list(ends),
    }
    parquet(root / "meta" / "episodes" / "chunk-000" / "file-000.parquet", columns)
    parquet(root / "data" / "chunk-000" / "file-000.parquet", {"action": [[0.1]], "episode_index": [0]})
    return root


def test_lerobot_episodes_are_clips_with_their_tasks(tmp_path: Path) -> None:
    root = lerobot(tmp_path / "pusht", [8, 6, 7])
    clips, refused, [passed] = clips_of(str(tmp_path))
    assert refused == [] and passed.count == 2 and "Parquet" in passed.reason
    assert [clip.indices for clip in clips] == [tuple(range(8)), tuple(range(8, 14)), tuple(range(14, 21))]
    assert [clip.tags for clip in clips] == [
        (("task", f"pick up {k}", f"LeRobot episode {k}"),) for k in range(3)
    ]
    assert len({clip.shot for clip in clips}) == 3 and root.is_dir()


def test_lerobot_with_a_broken_table_keeps_its_video(tmp_path: Path) -> None:
    root = lerobot(tmp_path / "pusht", [8, 6])
    (root / "meta" / "episodes" / "chunk-000" / "file-000.parquet").write_bytes(b"PAR1")
    clips, refused, _ = clips_of(str(tmp_path))
    assert sum(clip.frames for clip in clips) == 14 and all(clip.tags == () for clip in clips)
    assert any(one.uri.endswith("meta/info.json") and "its episodes" in one.reason for one in refused)


def test_lerobot_before_version_3(tmp_path: Path) -> None:
    root = tmp_path / "old"
    for k in range(2):
        write_video(root / "videos" / "chunk-000" / "front" / f"episode_{k:06}.mp4", moving_frames(5 + k), 20)
    (root / "meta").mkdir()
    (root / texts.LEROBOT).write_text(json.dumps({"codebase_version": "v2.1", "fps": 20}))
    lines = [json.dumps({"episode_index": k, "tasks": [f"do {k}"], "length": 5 + k}) for k in range(2)]
    (root / "meta" / "episodes.jsonl").write_text("\n".join(lines))
    clips: list[ClipSpec] = clips_of(str(root))[0]
    assert [clip.frames for clip in clips] == [5, 6]
    assert [clip.tags for clip in clips] == [(("task", f"do {k}", f"LeRobot episode {k}"),) for k in range(2)]
