"""The calibrate stage: detectors on rendered clips, whose truth is exact → a confidence map for each, on Ray.

Counts taken before on footage with truth go into the maps too: those that come with the package, or others.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data

from freelabels.generators.contract import calibration
from freelabels.generators.contract.calibration import (
    ConfidenceMap,
    calibration_digest,
    detector_of,
    map_name,
    using,
)
from freelabels.generators.contract.clip import Clip
from freelabels.generators.contract.detector import detectors
from freelabels.generators.contract.fields import Array
from freelabels.ground.errors import UserError
from freelabels.pipeline.quality.composites import pasted
from freelabels.pipeline.quality.detector_views import STILLS, VIEWS, Key, sensed_depth, tallies_of, views_of
from freelabels.pipeline.quality.plots import draw_reliability
from freelabels.pipeline.quality.reliability import (
    EVEN,
    LEAST_CLIPS,
    FootageCount,
    Tally,
    clips_in,
    counts_as_json,
    counts_from_json,
    cross_validated,
    fit_map,
    footage_helps,
    held_out,
    together,
)
from freelabels.pipeline.quality.rightness import RIGHT
from freelabels.pipeline.stages.bookkeeping import writing_to
from freelabels.pipeline.stages.render import RENDER_VERSION, RenderOptions
from freelabels.pipeline.storage.uris import output_folder
from freelabels.pipeline.work.progress import Reporter
from freelabels.pipeline.work.runner import Cluster, run
from freelabels.renderers.draw.ranges import SceneRanges
from freelabels.renderers.engines.raycast import pose_surfaces
from freelabels.renderers.pixels.ray_image import render_image
from freelabels.renderers.render import find_scene, render_clip
from freelabels.renderers.scene.scene import camera_poses, pinhole
from freelabels.renderers.simulate.world import build_world

SEED_OF_MAPS = 20
SHIPPED, NONE = "shipped", "none"  # instead of a file of counts on footage: the package's own, or no counts
COUNTS = "footage_counts.json"
PACKAGE = files("freelabels.generators.contract")  # where maps and counts are stored
# Most cameras move: one that stands still gives no depth, and so says nothing of its confidence.
MOVING = {"static": 0.5, "orbit": 2.0, "dolly": 2.0, "handheld": 2.0}
# Every third clip is a close look at a crowded floor: real footage is less tidy than a few things on one.
CROWDED = SceneRanges(
    families={"table": 1.0},
    paths=MOVING,
    objects=(8, 16),
    clutter=(4, 10),
    walls=(1, 3),
    object_share=(0.25, 0.85),
    seen_objects=5,
    distance=(0.7, 1.8),
    elevation=(6, 45),
)
BASELINE = (0.03, 0.12)  # of a stereo pair, as a share of the scene's median depth
VIEW_STREAM = 2000  # component number of the other sensors' noise in the seeds; the image's own is 1000
PASTE_STREAM = 2001  # the same for what is pasted in front of which photo


@dataclass(frozen=True)
class CalibrationWork:
    """One rendered clip, and the detectors whose raw scores are to be counted on it."""

    clip: int
    options: RenderOptions
    judged: frozenset[str]
    maps: Mapping[str, ConfidenceMap]


@dataclass(frozen=True)
class CalibrationSummary:
    """What a run of the calibrate stage did: where the maps are, the clips it used and those that failed.

    errors: expected calibration error by "label by detector", on clips that the map wasn't fitted to.
    """

    maps: str
    clips: int
    failed: int
    errors: Mapping[str, float] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether no clip failed."""
        return self.failed == 0


def calibrate(
    out: str | os.PathLike[str],
    clips: int = 24,
    seed: int = SEED_OF_MAPS,
    *,
    frames: int = 8,
    size: tuple[int, int] = (256, 256),
    footage: Sequence[str | os.PathLike[str]] = (SHIPPED,),
    install: bool = False,
    cluster: Cluster | None = None,
    reporter: Reporter | None = None,
) -> CalibrationSummary:
    """Fit a confidence map per detector on rendered clips; writes calibration.json and reliability-<label>.png.

    out: the folder written to. clips, frames, size (height, width), seed: what is rendered; the same give the
    same bytes whatever the workers. footage: files of counts on footage with truth, which `benchmarks.labels`
    writes; "shipped" are those that come with the package, "none" leaves renders alone. install: also make these
    the maps that detectors use from now on, in this installation. Detectors that read others' confidence are
    fitted after them. Raises UserError.
    """
    reporter = reporter or Reporter()
    options = calibration_options(seed, frames, size)
    if clips < 2:
        raise UserError(
            f"--clips must be at least 2, not {clips}: every map is tried on clips it has not seen"
        )
    _ = options[0].library  # what hinders rendering is found before anything is written
    counts = usable([count for each in footage for count in read_counts(each)], reporter)
    maps: dict[str, ConfidenceMap] = {}
    used: dict[str, list[FootageCount]] = {}
    tallies: dict[Key, list[Tally]] = {}
    failed: set[int] = set()
    with writing_to(out), output_folder(out) as folder:
        for judged in _in_order():
            work = [
                CalibrationWork(clip, options[clip % len(options)], judged, dict(maps))
                for clip in range(clips)
            ]
            found = _tallied(work, cluster or Cluster(), reporter, failed)
            tallies |= found
            for name in sorted(judged):
                for map_of in _map_names(name):
                    renders, its = _whole(found, map_of), counts.get(map_of, [])
                    if its and not footage_helps(renders, its):
                        reporter.say(
                            f"map of {map_of}: renders alone, as footage doesn't help clips left out"
                        )
                        its = []
                    if moved := _with_other_maps(its, maps):
                        reporter.say(f"footage counts for {map_of} were taken with other maps of {moved}")
                    if (whole := together(renders, its)).count.any():
                        maps[map_of], used[map_of] = fit_map(whole), its
        if not tallies:
            raise UserError("no clip could be labelled, so there is nothing to fit; see the messages above")
        about: dict[str, Any] = {"seed": seed, "clips": clips - len(failed), "frames": frames}
        about |= {"size": list(size), "render_version": RENDER_VERSION}
        if counts:
            about["footage"] = {"counts": counts_digest(counts), "even": EVEN}
        text = _as_json(about, maps, tallies, used)
        (folder / calibration.STORED).write_text(text)
        errors = _draw(tallies, used, folder)
        if install:
            Path(str(PACKAGE.joinpath(calibration.STORED))).write_text(text)
            calibration.stored_maps.cache_clear()
    return CalibrationSummary(
        f"{os.fspath(out).rstrip('/')}/{calibration.STORED}", clips, len(failed), errors
    )


def calibration_options(seed: int, frames: int, size: tuple[int, int]) -> tuple[RenderOptions, ...]:
    """What clips are made of, in turn: rooms, streets, things on a floor, all with scikit-image's photos.

    Photos as textures have what procedural ones lack: edges that are no boundary, at every contrast and scale.
    """
    photos = str(Path(skimage.data.__file__).parent)
    places = (SceneRanges(families={place: 1.0}, paths=MOVING) for place in ("room", "street"))
    return tuple(
        RenderOptions(seed=seed, frames=frames, size=size, photos=photos, ranges=each)
        for each in (*places, CROWDED)
    )


def read_counts(file: str | os.PathLike[str]) -> list[FootageCount]:
    """The counts in a file that `benchmarks.labels` wrote, or what is meant by a word. Raises UserError."""
    if os.fspath(file) == NONE:
        return []
    try:
        source = PACKAGE.joinpath(COUNTS) if os.fspath(file) == SHIPPED else Path(file)
        text = source.read_text()
        return counts_from_json(text)
    except (OSError, ValueError) as error:
        raise UserError(
            f"--footage {os.fspath(file)} holds no counts ({error}); name a file that "
            "`python -m benchmarks.labels --counts` wrote"
        ) from error


def usable(
    counts: Sequence[FootageCount], reporter: Reporter, versions: Mapping[str, int] | None = None
) -> dict[str, list[FootageCount]]:
    """By name of the map, counts of labels that detectors of these versions make; what is left out is named.

    versions: by detector's name; None: as they are now.
    """
    known = versions or {name: detector.version for name, detector in detectors().items()}
    kept: dict[str, list[FootageCount]] = {}
    outdated: dict[str, None] = {}
    for count in counts:
        now = {name: known[name] for name in count.versions if name in known}
        if now == count.versions:
            kept.setdefault(count.map, []).append(count)
        else:
            outdated[detector_of(count.map)] = None
    if outdated:
        reporter.say(
            f"footage counts of other versions of {', '.join(outdated)} (or of what they read) are left out; "
            "count again with `python -m benchmarks.labels --counts`"
        )
    few = [name for name, its in kept.items() if clips_in(its) < LEAST_CLIPS]
    if few:
        reporter.say(
            f"maps of {', '.join(few)}: renders alone, as there are under {LEAST_CLIPS} clips of footage"
        )
    return {name: its for name, its in kept.items() if name not in few}


def _with_other_maps(counts: Sequence[FootageCount], maps: Mapping[str, ConfidenceMap]) -> str:
    """The detectors whose confidence was read by other maps than these when footage was counted."""
    with using(maps):
        return ", ".join(sorted({n for c in counts for n in c.read if c.read[n] != calibration_digest(n)}))


def counts_digest(counts: Mapping[str, Sequence[FootageCount]]) -> str:
    """16 hexadecimal digits that change with the counts that maps were fitted to, by name of the map."""
    text = counts_as_json([count for name in sorted(counts) for count in counts[name]])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _tallied(
    work: Sequence[CalibrationWork], cluster: Cluster, reporter: Reporter, failed: set[int]
) -> dict[Key, list[Tally]]:
    """The tallies of each detector and label, in the order of clips."""
    found: dict[int, dict[Key, Tally]] = {}
    with reporter.stage("calibrate " + ", ".join(sorted(work[0].judged)), len(work)) as tick:
        for outcome in run(tally_clip, work, lambda w: f"calibrate clip {w.clip}", cluster):
            tick(outcome.work.options.frames, failed=outcome.result is None, outcome=outcome)
            if outcome.result is None:
                failed.add(outcome.work.clip)
                reporter.say(f"clip {outcome.work.clip} failed: {outcome.error}", clip=outcome.work.clip)
            else:
                found[outcome.work.clip] = outcome.result
    keys = sorted({key for tallies in found.values() for key in tallies})
    return {key: [found[clip][key] for clip in sorted(found) if key in found[clip]] for key in keys}


def _map_names(detector: str) -> tuple[str, str]:
    return map_name(detector), map_name(detector, yes=True)


def _whole(tallies: Mapping[Key, Sequence[Tally]], name: str) -> Tally:
    """All that goes into the map of that name, whatever the label."""
    return Tally.sum([tally for (map_of, _), parts in tallies.items() if map_of == name for tally in parts])


def _in_order() -> list[frozenset[str]]:
    """Names of the detectors of judged labels, those that read others' labels after these."""
    makers = {label: cls for cls in reversed(list(detectors().values())) for label in cls.makes}

    def level(cls: type[Any]) -> int:
        read = [makers[need] for need in cls.needs | getattr(cls, "uses", frozenset()) if need in makers]
        return 1 + max((level(maker) for maker in read), default=-1)

    judged = [cls for cls in detectors().values() if any(label in RIGHT for label in cls.makes)]
    levels = {cls.name: level(cls) for cls in judged}
    return [
        frozenset(name for name, its in levels.items() if its == k) for k in range(max(levels.values()) + 1)
    ]


def _as_json(
    about: Mapping[str, Any],
    maps: Mapping[str, ConfidenceMap],
    tallies: Mapping[Key, Sequence[Tally]],
    used: Mapping[str, Sequence[FootageCount]],
) -> str:
    """Text of calibration.json: the maps, and what they were fitted for and from."""
    described = {}
    for name in sorted(maps):
        detector = detectors()[detector_of(name)]
        its = used[name]
        described[name] = {
            "version": detector.version,
            "parameters": dataclasses.asdict(detector()),
            "labels": int(_whole(tallies, name).count.sum()),
            "footage": {count.clip: count.clips for count in its},
            "labels_of_footage": int(sum(count.tally.count.sum() for count in its)),
            **dataclasses.asdict(maps[name]),
        }
    return json.dumps({"fitted": about, "maps": described}, indent=1) + "\n"


def _draw(
    tallies: Mapping[Key, Sequence[Tally]], used: Mapping[str, Sequence[FootageCount]], folder: Path
) -> dict[str, float]:
    """Write a reliability diagram per label; returns calibration errors by label and detector."""
    errors: dict[str, float] = {}
    for label in RIGHT:
        curves = {}
        for (name, of), parts in tallies.items():
            if of == label:
                its = used.get(name, ())
                curves[name] = cross_validated(parts, its)
                if its:
                    curves[f"{name}, footage"] = Tally.sum(held_out(_whole(tallies, name), its))
        errors |= {f"{label} by {name}": tally.calibration_error for name, tally in curves.items()}
        if curves:
            draw_reliability(f"{label}: clips not fitted to", curves, folder / f"reliability-{label}.png")
    return errors


# --- in a worker --------------------------------------------------------------------------------------------


def tally_clip(work: CalibrationWork) -> dict[Key, Tally]:
    """Render one clip, look at it in every way, and count the judged detectors' raw scores. Runs in a worker."""
    views = rendered_views(work.options, work.clip, views_of(work.judged))
    with using(work.maps):
        return tallies_of(views, work.judged)


def rendered_views(
    options: RenderOptions, number: int, wanted: Container[str] = VIEWS
) -> dict[str, tuple[Clip, dict[str, Array]]]:
    """A clip of these options as each of the `wanted` of `VIEWS` sees it, with the true fields of its frames.

    Without photos among the options' assets nothing is "pasted".
    """
    assets = options.library
    scene, motion = find_scene(options.seed, number, options.ranges, assets, options.frames, options.size)
    scene = dataclasses.replace(scene, camera=pinhole(scene.camera))  # pairs are rectified
    truth = render_clip(scene, assets, options.frames, options.size, "ray", motion).columns
    rows = np.arange(0, options.frames, STILLS)
    still = {name: values[rows] for name, values in truth.items()}
    K = truth["camera_K"][0]
    video = Clip(truth["image"], truth["time"], K, "given")
    photo = Clip(still["image"], still["time"], K, "given")
    views = {"photo": (photo, still), "video": (video, truth)}
    rng = np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=(number, VIEW_STREAM)))
    if "stereo" in wanted:
        known = still["depth"][np.isfinite(still["depth"])]
        baseline = float(rng.uniform(*BASELINE) * (np.median(known) if known.size else 1.0))
        world = build_world(scene, assets)
        right = []
        for row, pose in zip(rows, camera_poses(scene.camera, still["time"]), strict=True):
            beside = pose.copy()
            beside[:3, 3] += baseline * pose[:3, 0]
            surfaces = pose_surfaces(world.meshes, motion.geometry_pose[row + 1], world.parts, beside[:3, 3])
            right.append(render_image(surfaces, scene.appearance, K, beside, options.size, rng))
        stereo = dataclasses.replace(photo, right=np.stack(right), baseline=baseline)
        views["stereo"] = (stereo, still)
    if "sensor" in wanted:
        sensor = dataclasses.replace(photo, sensor_depth=sensed_depth(still["depth"], rng))
        views["sensor"] = (sensor, still)
    if "pasted" in wanted and assets.photos:
        random = np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=(number, PASTE_STREAM)))
        image, foreground = pasted(still["image"], still["instance"], assets.photos, random)
        standing_out = {"foreground": foreground, "saliency": foreground}
        views["pasted"] = (dataclasses.replace(photo, image=image), standing_out)
    return views
