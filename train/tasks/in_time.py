"""The tasks that learn from time."""

from __future__ import annotations

from freelabels.train.tasks.contract.task import Task
from freelabels.train.tasks.generation.moco_gan import MocoGAN
from freelabels.train.tasks.generation.temporal_gan import TemporalGAN
from freelabels.train.tasks.generation.video_gan import VideoGAN
from freelabels.train.tasks.prediction.conv_lstm import ConvLSTMPrediction
from freelabels.train.tasks.prediction.lstm_dynamics import LSTMDynamics
from freelabels.train.tasks.prediction.mcnet import MCNet
from freelabels.train.tasks.prediction.un_lstm import UnLSTM
from freelabels.train.tasks.prediction.video_colorization import VideoColorization
from freelabels.train.tasks.time.arrow_of_time import ArrowOfTime
from freelabels.train.tasks.time.cubic_puzzles import CubicPuzzles
from freelabels.train.tasks.time.lstm_permute import LSTMPermute
from freelabels.train.tasks.time.o3n import O3N
from freelabels.train.tasks.time.opn import OPN
from freelabels.train.tasks.time.order_policy import OrderPolicy
from freelabels.train.tasks.time.ranking import Ranking
from freelabels.train.tasks.time.rotation_3d import Rotation3D
from freelabels.train.tasks.time.shuffle_learn import ShuffleLearn
from freelabels.train.tasks.time.temporal_coherence import TemporalCoherence
from freelabels.train.tasks.time.transitive import Transitive
from freelabels.train.tasks.time.video_jigsaw import VideoJigsaw

IN_TIME: tuple[Task, ...] = (
    ShuffleLearn(),
    LSTMPermute(),
    OPN(),
    O3N(),
    ArrowOfTime(),
    VideoJigsaw(),
    Rotation3D(),
    CubicPuzzles(),
    OrderPolicy(),
    Ranking(),
    Transitive(),
    TemporalCoherence(),
    UnLSTM(),
    ConvLSTMPrediction(),
    MCNet(),
    LSTMDynamics(),
    VideoColorization(),
    VideoGAN(),
    MocoGAN(),
    TemporalGAN(),
)
