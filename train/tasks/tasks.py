"""The tasks by name, and which of them a run learns.

Adding a task = one file and its entry in `BUILT_IN`, or an entry point in the group ``freelabels.tasks``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from freelabels.generators.contract.fields import field
from freelabels.ground.errors import UserError
from freelabels.ground.plugins import with_plugins
from freelabels.ground.settings import Setting, parsed
from freelabels.ground.spelling import nearest
from freelabels.train.config import RobustConfig
from freelabels.train.data.reach import Reach
from freelabels.train.tasks.built_in import LABELLED
from freelabels.train.tasks.camera.active_stereo import ActiveStereo
from freelabels.train.tasks.camera.df_net import DFNet
from freelabels.train.tasks.camera.geo_net import GeoNet
from freelabels.train.tasks.camera.learn_by_move import LearnByMove
from freelabels.train.tasks.camera.sfm_learner import SfMLearner
from freelabels.train.tasks.camera.tied_ego_motion import TiedEgoMotion
from freelabels.train.tasks.camera.visual_odometry import VisualOdometry
from freelabels.train.tasks.clusters.boosting import Boosting
from freelabels.train.tasks.clusters.cluster_embedding import ClusterEmbedding
from freelabels.train.tasks.clusters.deep_cluster import DeepCluster
from freelabels.train.tasks.clusters.graph_constraint import GraphConstraint
from freelabels.train.tasks.clusters.joint_cluster import JointCluster
from freelabels.train.tasks.clusters.predict_noise import PredictNoise
from freelabels.train.tasks.colour.colourful import ColorfulColorization
from freelabels.train.tasks.colour.hue_chroma import AutoColor, Colorization
from freelabels.train.tasks.colour.split_brain import SplitBrain
from freelabels.train.tasks.contract.task import Task
from freelabels.train.tasks.flow.cross_model import CrossModel
from freelabels.train.tasks.flow.cross_pixel import CrossPixel
from freelabels.train.tasks.flow.flow_net import FlowNet
from freelabels.train.tasks.flow.flow_net2 import FlowNet2
from freelabels.train.tasks.flow.pose_action import PoseAction
from freelabels.train.tasks.flow.un_flow import UnFlow
from freelabels.train.tasks.generation.bigan import BiGAN
from freelabels.train.tasks.generation.complenet import CompleNet
from freelabels.train.tasks.generation.context_encoder import ContextEncoder
from freelabels.train.tasks.generation.gan import DCGAN, GAN
from freelabels.train.tasks.generation.masked import Masked
from freelabels.train.tasks.generation.self_gan import SelfGAN
from freelabels.train.tasks.generation.spot_artifacts import SpotArtifacts
from freelabels.train.tasks.generation.srgan import SRGAN
from freelabels.train.tasks.generation.wgan import WGAN
from freelabels.train.tasks.in_time import IN_TIME
from freelabels.train.tasks.labelled import Labelled
from freelabels.train.tasks.similarity.simclr import SimCLR
from freelabels.train.tasks.sound.ambient_sound import AmbientSound
from freelabels.train.tasks.sound.audio_visual import AudioVisual
from freelabels.train.tasks.sound.avts import AVTS
from freelabels.train.tasks.sound.look_listen_learn import LookListenLearn
from freelabels.train.tasks.space.arbitrary_jigsaw import ArbitraryJigsaw
from freelabels.train.tasks.space.context_prediction import ContextPrediction
from freelabels.train.tasks.space.counting import Counting
from freelabels.train.tasks.space.damaged_jigsaw import DamagedJigsaw
from freelabels.train.tasks.space.deep_perm_net import DeepPermNet
from freelabels.train.tasks.space.improve_context import ImproveContext
from freelabels.train.tasks.space.jigsaw import Jigsaw
from freelabels.train.tasks.space.rotation import Rotation
from freelabels.train.tasks.tags import Tags
from freelabels.train.tasks.whole_images import WHOLE_IMAGES

BUILT_IN: tuple[Task, ...] = (
    *LABELLED,
    *WHOLE_IMAGES,
    Rotation(),
    Jigsaw(),
    DamagedJigsaw(),
    ArbitraryJigsaw(),
    DeepPermNet(),
    ContextPrediction(),
    ImproveContext(),
    Counting(),
    ColorfulColorization(),
    Colorization(),
    AutoColor(),
    SplitBrain(),
    ContextEncoder(),
    CompleNet(),
    SRGAN(),
    SpotArtifacts(),
    GAN(),
    DCGAN(),
    WGAN(),
    BiGAN(),
    SelfGAN(),
    SimCLR(),
    Masked(),
    DeepCluster(),
    JointCluster(),
    ClusterEmbedding(),
    GraphConstraint(),
    PredictNoise(),
    Boosting(),
    Tags(),
    *IN_TIME,
    FlowNet(),
    FlowNet2(),
    UnFlow(),
    CrossPixel(),
    CrossModel(),
    PoseAction(),
    SfMLearner(),
    LearnByMove(),
    TiedEgoMotion(),
    GeoNet(),
    DFNet(),
    VisualOdometry(),
    ActiveStereo(),
    LookListenLearn(),
    AVTS(),
    AudioVisual(),
    AmbientSound(),
)
DEFAULT = ("edges", "motion", "disparity", "depth", "normals", "contours")
# Of the tasks. 1: by versions up to 0.1.0, whose runs go on with what was called so then. 2: tiles of puzzles
# shared no layer.
FORM = 3
OF_FORM_1 = {"rotation": "rotation_maps", "jigsaw": "jigsaw_whole"}


@cache
def tasks() -> Mapping[str, Task]:
    """All known tasks by name, with their default parameters: the built-in ones and those of plug-ins."""
    known: Mapping[str, Any] = with_plugins(BUILT_IN, "freelabels.tasks")
    return {name: task() if isinstance(task, type) else task for name, task in known.items()}


def choose(
    wanted: Sequence[str],
    has: Callable[[str], bool],
    names: Mapping[str, tuple[str, ...]],
    frames: int,
    settings: Sequence[str] = (),
    robust: RobustConfig | None = None,
    form: int = FORM,
    longest: int | None = None,
) -> dict[str, Task]:
    """The tasks asked for, or, if none is, those of `DEFAULT` whose fields the data `has`.

    names: tables of names by field. frames: of every window. settings: NAME.PARAMETER=VALUE each. robust: how
    stored labels are learned. form: see `FORM`. longest: frames of the longest clip, if known. Raises UserError
    for an unknown task, one that the data can't feed, and a bad setting.
    """
    if not wanted:
        wanted = [name for name in DEFAULT if all(has(f) for f in tasks()[name].needs.fields)]
        if not wanted:
            raise UserError(f"no shard holds a label to learn from; the usual ones are {', '.join(DEFAULT)}")
    changes = [parsed(setting) for setting in settings]
    for change in changes:
        if change.name not in wanted:
            raise UserError(f"--set {change.text}: {change.name} is not among the tasks {', '.join(wanted)}")
    chosen: dict[str, Task] = {}
    for name in wanted:
        known = OF_FORM_1.get(name, name) if form == 1 else name
        if known not in tasks():
            raise UserError(f"--tasks {name}: {nearest(name, tasks())}")
        task = tasks()[known]
        if form <= 2 and isinstance(task, (Jigsaw, DamagedJigsaw, DeepPermNet)):
            task = replace(task, shared=False)
        task = _configured(task, [change for change in changes if change.name == name])
        if why := lacking(task, has, names, frames, longest):
            raise UserError(why)
        if isinstance(task, Labelled):
            task = replace(task, robust=robust or task.robust)
            if task.channels is None:
                task = replace(task, channels=len(_table(task, names)))
        chosen[name] = task.fitted(names)
    return chosen


def lacking(
    task: Task,
    has: Callable[[str], bool],
    names: Mapping[str, tuple[str, ...]],
    frames: int,
    longest: int | None = None,
) -> str:
    """Why the data can't feed a task, as a sentence; "" if they can."""
    for column in task.needs.fields:
        if not has(column):
            return f"the task {task.name} needs the field {column}, which no given shard holds"
    if task.needs.shared > frames:
        count = "two" if task.needs.shared == 2 else str(task.needs.shared)
        return f"the task {task.name} looks at {count} frames; give --loader.frames {task.needs.shared}"
    if longest is not None and task.needs.frames > longest:
        wanted = f"{task.needs.frames} frames of a clip"
        return f"the task {task.name} looks at {wanted}, and the longest clip has {longest}"
    if isinstance(task, Labelled) and task.channels is None and not _table(task, names):
        return f"the field {task.reads[0]} has no table of names, so {task.name} can't be learned"
    return ""


def fields_of(chosen: Mapping[str, Task]) -> tuple[str, ...]:
    """The columns that tasks read of the frames that they share."""
    shared = (task.needs for task in chosen.values() if task.needs.reach is None)
    return tuple(dict.fromkeys(name for needs in shared for name in needs.reads))


def reaches_of(chosen: Mapping[str, Task]) -> tuple[Reach, ...]:
    """The frames that tasks have for themselves; those that look equally far have theirs together."""
    found: dict[str, Reach] = {}
    for task in chosen.values():
        if (reach := task.needs.reach) is not None:
            fields = found[reach.key].fields if reach.key in found else ()
            found[reach.key] = replace(reach, fields=tuple(dict.fromkeys((*fields, *reach.fields))))
    return tuple(found.values())


def parameters(task: Task) -> dict[str, Any]:
    """A task's parameters by name, as they are set."""
    if isinstance(task, Labelled):  # its fields say what it is
        return {}
    return {f.name: getattr(task, f.name) for f in dataclasses.fields(task)}  # type: ignore[arg-type]


def _table(task: Labelled, names: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return names.get(task.reads[0]) or field(task.reads[0]).names


def _configured(task: Task, changes: Sequence[Setting]) -> Task:
    known, values = parameters(task), dict[str, Any]()
    for change in changes:
        if change.parameter not in known:
            there = nearest(change.parameter, known) if known else "it has no parameters"
            raise UserError(f"--set {change.text}: {task.name} has no {change.parameter!r}: {there}")
        values[change.parameter] = change.like(known[change.parameter])
    try:
        changed: Task = replace(task, **values) if values else task  # type: ignore[type-var]
    except ValueError as error:
        raise UserError(f"--set {changes[-1].text}: {error}") from error
    return changed
