"""Videos in probes: layouts are read right, cuts of a recording stay together, a video is all of its clips."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch

from freelabels.ground.errors import UserError
from freelabels.train.config import LoaderConfig, ModelConfig, ProbeConfig, TrainConfig
from freelabels.train.model.clips import ClipBackbone
from freelabels.train.model.network import Backbone
from freelabels.train.probing import finetune, probe_report, video_probe
from freelabels.train.probing import probe as probes
from freelabels.train.probing.features import stages
from freelabels.train.probing.labelled_videos import (
    Filmed,
    clip_frames,
    holds_videos,
    read_clips,
    read_video_folder,
)
from freelabels.train.probing.networks import Network
from freelabels.train.probing.probe import probe
from freelabels.train.probing.splits import group_split
from freelabels.train.probing.video_probe import (
    BY_CLIP,
    BY_VIDEO,
    LAYERS,
    RETRIEVED,
    TUNED_CLIP,
    TUNED_VIDEO,
    ClipNetwork,
    FilmedClips,
    clip_features,
    clip_scores,
    read_filmed,
    split_of,
    tuned_films,
    video_scores,
    whole_clip_features,
)
from tests.sources import write_video

CLASSES = ("Apply", "HandstandPushups")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def film(path: Path, colour: tuple[int, int, int] = (0, 0, 0), frames: int = 1) -> Path:
    """One colour and some noise."""
    rng = np.random.default_rng(len(str(path)))
    noise = rng.integers(0, 40, (frames, 32, 32, 3))
    return write_video(path, np.clip(noise + np.array(colour), 0, 255).astype(np.uint8))


def empty(path: Path) -> Path:
    """A video as far as its name goes: readers of layouts look at nothing else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def shown(found: Filmed, test: bool) -> set[tuple[str, str]]:
    assert found.test is not None
    rows = zip(found.files, found.truth.argmax(1).tolist(), found.test.tolist(), strict=True)
    return {(file.stem, found.classes[label]) for file, label, side in rows if side == test}


def test_ucf101_by_its_lists_whatever_the_case(tmp_path: Path) -> None:
    root = tmp_path / "ucf"
    for label in CLASSES:
        for group in (1, 2, 8):
            empty(root / "UCF-101" / label / f"v_{label}_g{group:02d}_c01.avi")
    lists = root / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Apply\n2 HandStandPushups\n")
    for split, tested in ((1, 1), (2, 2)):
        sides: dict[str, list[str]] = {"trainlist": [], "testlist": []}
        for number, label in enumerate(("Apply", "HandStandPushups"), 1):
            for group in (1, 2, 8):
                side = "testlist" if group == tested else "trainlist"
                line = f"{label}/v_{label}_g{group:02d}_c01.avi"
                sides[side].append(line if side == "testlist" else f"{line} {number}")
        for side, rows in sides.items():
            (lists / f"{side}{split:02d}.txt").write_text("\n".join(rows) + "\n")
    assert holds_videos(str(root))
    first, second = read_video_folder(str(root))
    assert (first.name, second.name) == ("ucf, split 1", "ucf, split 2")
    assert shown(first, test=True) == {(f"v_{label}_g01_c01", shown_as) for label, shown_as in zip(
        CLASSES, ("Apply", "HandStandPushups"), strict=True
    )}  # fmt: skip
    assert shown(second, test=True) == {
        (name.replace("g01", "g02"), label) for name, label in shown(first, True)
    }
    assert len(shown(first, test=False)) == 4


def test_hmdb51_by_its_lists_and_names_that_shells_dislike(tmp_path: Path) -> None:
    root = tmp_path / "hmdb"
    names = ["#20_Rhythm_u_nm_np1_fr_goo_0", "A&B!_[x]_u_nm_np1_ba_bad_1", "unused_u_nm_np1_ba_bad_2"]
    lists = root / "testTrainMulti_7030_splits"
    lists.mkdir(parents=True)
    for label in ("brush_hair", "clap"):
        for name in names:
            empty(root / "hmdb51_org" / label / f"{name}.avi")
        for split in (1, 2, 3):
            sides = (1, 2, 0) if split < 3 else (2, 1, 0)
            rows = [f"{name}.avi {side} " for name, side in zip(names, sides, strict=True)]
            (lists / f"{label}_test_split{split}.txt").write_text("\n".join(rows) + "\n")
    found = read_video_folder(str(root))
    assert [one.name for one in found] == [f"hmdb, split {k}" for k in (1, 2, 3)]
    assert shown(found[0], test=True) == {(names[1], label) for label in ("brush_hair", "clap")}
    assert shown(found[2], test=True) == {(names[0], label) for label in ("brush_hair", "clap")}
    assert all(len(one.files) == 4 for one in found)


def test_lists_that_do_not_fit_the_videos_are_a_sentence(tmp_path: Path) -> None:
    ucf, hmdb = tmp_path / "ucf", tmp_path / "hmdb"
    for file in ("UCF-101/Apply/v_Apply_g01_c01.avi", "UCF-101/Clap/v_Clap_g02_c01.avi"):
        empty(ucf / file)
    lists = empty(ucf / "ucfTrainTestlist" / "trainlist01.txt").parent
    (lists / "trainlist01.txt").write_text("Apply/v_Apply_g01_c01.avi 1\nApply/v_Apply_g09_c01.avi 1\n")
    with pytest.raises(UserError, match=r"testlist01\.txt is missing, which holds names of videos"):
        read_video_folder(str(ucf))
    (lists / "testlist01.txt").write_text("Clap/v_Clap_g02_c01.avi\n")
    assert read_video_folder(str(ucf))[0].missing == 1
    for file in lists.iterdir():
        file.write_text("Other/v_Other_g01_c01.avi\n")
    with pytest.raises(UserError, match=r"holds none of the videos that .*trainlist01\.txt names"):
        read_video_folder(str(ucf))
    empty(hmdb / "hmdb51_org" / "clap" / "a.avi")
    (hmdb / "testTrainMulti_7030_splits").mkdir()
    with pytest.raises(UserError, match="holds no lists of splits"):
        read_video_folder(str(hmdb))
    (hmdb / "testTrainMulti_7030_splits" / "clap_test_split1.txt").write_text("a.avi\n")
    with pytest.raises(UserError, match=r"want a video and 0, 1 or 2, not 'a\.avi'"):
        read_video_folder(str(hmdb))


def test_hmdb51_still_packed_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "testTrainMulti_7030_splits").mkdir()
    (tmp_path / "hmdb51_org").mkdir()
    (tmp_path / "hmdb51_org" / "clap.rar").touch()
    with pytest.raises(UserError, match=r"unpack its archives first \(unrar x clap.rar\)"):
        read_video_folder(str(tmp_path))


def test_kinetics_by_its_tables(tmp_path: Path) -> None:
    for side, label, name in (
        ("train", "abseiling", "aaaaaaaaaaa"),
        ("train", "zumba", "bbbbbbbbbbb"),
        ("val", "abseiling", "ccccccccccc"),
        ("val", "zumba", "ddddddddddd"),
    ):
        table = tmp_path / f"{side}.csv"
        if not table.exists():
            table.write_text("label,youtube_id,time_start,time_end,split\n")
        with table.open("a") as file:
            file.write(
                f"{label},{name},5,15,{side}\n{label},{'x' + name[1:]},1,11,{side}\n"
            )  # the second is gone
        empty(tmp_path / side / label / f"{name}_000005_000015.mp4")
    (found,) = read_video_folder(str(tmp_path))
    assert shown(found, test=False) == {
        ("aaaaaaaaaaa_000005_000015", "abseiling"),
        ("bbbbbbbbbbb_000005_000015", "zumba"),
    }
    assert len(shown(found, test=True)) == 2


def test_folders_of_classes_that_differ_in_case_are_one_class(tmp_path: Path) -> None:
    for side, label in (("train", "Coast"), ("test", "coast"), ("train", "Forest"), ("test", "forest")):
        empty(tmp_path / side / label / "a.mp4")
    (found,) = read_video_folder(str(tmp_path))
    assert found.classes == ("Coast", "Forest") and found.test is not None and found.test.sum() == 2
    assert not holds_videos(str(tmp_path / "train" / "none"))


def test_cuts_of_a_recording_are_never_on_both_sides(tmp_path: Path) -> None:
    for label in CLASSES:
        for group in range(5):
            for cut in range(4):
                empty(tmp_path / label / f"v_{label}_g{group:02d}_c{cut:02d}.avi")
    (found,) = read_video_folder(str(tmp_path))
    assert found.test is None and len(set(found.groups.tolist())) == 10
    for seed in range(5):
        rng = np.random.default_rng(seed)
        split = group_split(found.truth, found.classes, found.groups, None, 0.3, rng)
        sides = [set(found.groups[rows].tolist()) for rows in (split.train, split.test)]
        assert not sides[0] & sides[1] and sides[1]
        kept = split.held_out.numpy()
        inner = [set(found.groups[split.train[torch.from_numpy(rows)]].tolist()) for rows in (kept, ~kept)]
        assert not inner[0] & inner[1] and inner[0]
        assert set(found.truth[split.test].argmax(1).tolist()) == {0, 1}
    one = found.groups * 0
    with pytest.raises(UserError, match="are of one recording"):
        group_split(found.truth, found.classes, one, None, 0.3, np.random.default_rng(0))


def test_clips_are_spread_over_a_video_and_short_ones_repeat_their_end() -> None:
    np.testing.assert_array_equal(clip_frames(20, 3, 4, 2), [[0, 2, 4, 6], [6, 8, 10, 12], [13, 15, 17, 19]])
    np.testing.assert_array_equal(clip_frames(3, 2, 4, 2), [[0, 2, 2, 2], [0, 2, 2, 2]])
    np.testing.assert_array_equal(clip_frames(9, 1, 3, 1), [[3, 4, 5]])


@pytest.mark.slow
def test_videos_are_read_and_told_apart_by_their_frames(tmp_path: Path) -> None:
    for label, colour in zip(CLASSES, ((200, 20, 20), (20, 20, 200)), strict=True):
        for number in range(5):
            film(tmp_path / label / f"{number}.mp4", colour, 8)
    (found,) = read_video_folder(str(tmp_path))
    config = ProbeConfig(clips=2, clip_frames=2, seeds=1)
    one = read_filmed(found, 32, config, np.random.default_rng(0))
    assert one.images.shape == (10 * 2 * 2, 3, 32, 32)
    clip = read_clips(found.files[0], 2, 2, 2, 32)
    np.testing.assert_array_equal(one.images[:4].numpy(), clip.reshape(4, 3, 32, 32))
    torch.manual_seed(0)
    backbone = Backbone("test_convnext", False, 32)
    features = clip_features(backbone, one, stages(backbone), 64, torch.device("cpu"))
    assert all(stage.shape[:2] == (10, 2) for stage in features)
    scores = video_scores(features, one.about, split_of(one, config, np.random.default_rng(0)))
    assert set(scores) == {BY_CLIP, BY_VIDEO, *RETRIEVED.values()}
    assert all(stage[0] == 1.0 for measure in scores.values() for stage in measure)


@pytest.fixture(scope="module")
def runs() -> Iterator[FilmedClips]:
    """Twelve videos of two clips of three frames: something bright that falls, or rises."""
    generator = torch.Generator().manual_seed(0)
    at = torch.randint(8, 25, (12, 2, 1), generator=generator)
    step = torch.tensor([-4, 0, 4]) * (1 - 2 * (torch.arange(12) % 2))[:, None]
    y = (at + step[:, None])[..., None] - torch.arange(32)
    shown = 20 + 200 * (y.abs() < 4).float()[..., None, :, None].expand(-1, -1, -1, 3, -1, 32)
    truth = torch.nn.functional.one_hot(torch.arange(12) % 2, 2).float()
    about = Filmed("runs", (Path("a"),) * 12, truth, CLASSES, np.arange(12), np.arange(12) >= 6)
    with TemporaryDirectory() as folder:
        yield FilmedClips(about, shown.reshape(-1, 3, 32, 32).byte(), 2, 3, folder)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def films() -> ClipBackbone:
    torch.manual_seed(0)
    return ClipBackbone("r3d_18", 0.125).eval()


def test_a_trunk_for_clips_sees_which_way_things_go_and_one_for_frames_does_not(
    runs: FilmedClips, films: ClipBackbone
) -> None:
    cpu, config = torch.device("cpu"), ProbeConfig(clips=2, clip_frames=3, seeds=1)
    split = split_of(runs, config, np.random.default_rng(0))
    backbone = Backbone("test_convnext", False, 32)
    frames = clip_features(backbone.eval(), runs, stages(backbone), 64, cpu)
    reverse = replace(runs, images=runs.images.view(24, 3, 3, 32, 32).flip(1).reshape(-1, 3, 32, 32))
    again = clip_features(backbone, reverse, stages(backbone), 64, cpu)
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(frames, again, strict=True))
    network = ClipNetwork("r3d", lambda seed: films)
    (found,) = clip_scores(network, runs, [split], config, 64, cpu)
    assert len(found[BY_VIDEO]) == len(LAYERS) and max(score for score, _ in found[BY_VIDEO]) == 1
    backwards = whole_clip_features(films, reverse, 64, cpu)
    assert not torch.allclose(whole_clip_features(films, runs, 64, cpu)[-1], backwards[-1], atol=1e-3)


@pytest.mark.parametrize(
    ("trunk", "epochs", "least"), [pytest.param("frames", 20, 5 / 6, marks=pytest.mark.slow), ("clips", 1, 0)]
)
def test_fine_tuned_on_videos_by_clip_and_by_video(
    trunk: str, epochs: int, least: float, runs: FilmedClips, films: ClipBackbone
) -> None:
    config = ProbeConfig(clips=2, clip_frames=3, finetune=epochs)
    light = 100 * (torch.arange(72)[:, None, None, None] // 6 % 2).byte()
    runs = replace(runs, images=runs.images // 2 + light)
    split = split_of(runs, config, np.random.default_rng(0))
    torch.manual_seed(0)
    backbone = films if trunk == "clips" else Backbone("test_convnext", False, 32)
    before = [value.clone() for value in backbone.state_dict().values()]
    found = tuned_films(backbone, runs, split, 4, config, 0, torch.device("cpu"))
    assert set(found) == {TUNED_CLIP, TUNED_VIDEO}
    for figures in found.values():
        assert all(np.isnan(score) for score, _ in figures[:3]) and least <= figures[3][0] <= 1
    assert all(torch.equal(a, b) for a, b in zip(before, backbone.state_dict().values(), strict=True))


@pytest.mark.slow
def test_clips_as_a_whole_stand_beside_frames_by_the_names_of_the_other_rows(
    runs: FilmedClips, films: ClipBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = Backbone("test_convnext", False, 32)
    trained = TrainConfig(loader=LoaderConfig(size=32), model=ModelConfig("test_convnext"))
    model = replace(trained.model, clips="r3d_18", clip_share=0.125)
    monkeypatch.setattr(probes, "trained_backbone", lambda run: (backbone, trained, {}))
    monkeypatch.setattr(probes, "run_networks", lambda *_: [Network("run", "order", lambda seed: backbone)])
    monkeypatch.setattr(video_probe, "_trunk", lambda run: (films, model))
    monkeypatch.setattr(probes, "_read", lambda *_: [runs])
    monkeypatch.setattr(probe_report, "plot", lambda *_: None)
    report = probe("run", tmp_path, tmp_path, ProbeConfig(seeds=1, random="skip", rotation="skip"))
    assert [table.columns for table in report.tables if table.measure == BY_VIDEO] == [(), LAYERS]
    assert all(set(table.rows) == {"run"} for table in report.tables)


def test_few_steps_of_fine_tuning_are_scored_by_statistics_of_the_tuned_weights() -> None:
    colours = torch.tensor([[200.0, 60, 60], [60, 200, 60], [60, 60, 200], [150, 150, 60]])
    label = torch.arange(16) % 4
    noise = torch.randn(16, 1, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    clips = (0.4 * colours[label][:, None, None, :, None, None] + 60 + 60 * noise).clamp(0, 255).byte()
    truth = torch.nn.functional.one_hot(label, 4).float()
    torch.manual_seed(0)
    backbone = Backbone("test_resnet", False, 32)
    model = finetune._fit_films(backbone, clips, truth, torch.arange(16), 1e-3, 8, 0, torch.device("cpu"))
    told = finetune._predict_films(model, clips, torch.arange(16), torch.device("cpu"))
    assert (told[:, 0].argmax(1) == label).float().mean() > 0.9  # with running averages it stays near chance


def test_one_odd_clip_of_three_costs_that_clip_and_not_the_video() -> None:
    truth = torch.nn.functional.one_hot(torch.arange(20) % 2, 2).float()
    features = (2 * truth[:, None, :1] - 1).expand(-1, 3, 4) + 0.1 * torch.randn(
        20, 3, 4, generator=torch.Generator().manual_seed(0)
    )
    about = Filmed("made", (Path("a"),) * 20, truth, CLASSES, np.arange(20), np.arange(20) >= 14)
    split = group_split(truth, CLASSES, about.groups, about.test, 0.3, np.random.default_rng(0))
    features[14, 0] *= -1
    scores = video_scores([features], about, split)
    assert scores[BY_CLIP][0][0] == pytest.approx(17 / 18) and scores[BY_VIDEO][0][0] == 1
    assert scores[RETRIEVED[1]][0][0] == 1
