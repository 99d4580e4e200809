"""Every one of the survey's systems is here."""

from docs.pretexts_table import PAGE, written
from freelabels.train.tasks.contract.task import FAMILIES
from freelabels.train.tasks.overview import overview
from freelabels.train.tasks.tasks import tasks

# Jing and Tian, Self-supervised visual feature learning with deep neural networks: a survey, 2019, by their names.
SYSTEMS = {
    *("GAN", "DCGAN", "WGAN", "BiGAN", "SelfGAN", "Context Encoder", "CompleNet", "SRGAN", "SpotArtifacts"),
    *("ColorfulColorization", "Colorization", "AutoColor", "Split-Brain"),
    *("ImproveContext", "Context Prediction", "Jigsaw", "Damaged Jigsaw", "Arbitrary Jigsaw", "DeepPermNet"),
    *("RotNet", "Learning2Count", "MultiTask", "Boosting", "JointCluster", "DeepCluster", "ClusterEmbedding"),
    *("GraphConstraint", "PredictNoise", "Ranking", "Transitive", "Temporal Coherence"),
    *("Edge Detection", "Watching Move", "Cross Domain"),
    *("VideoGAN", "MocoGAN", "TemporalGAN"),
    *("Video Colorization", "Un-LSTM", "ConvLSTM", "MCNet", "LSTMDynamics"),
    *("Shuffle & Learn", "LSTMPermute", "OPN", "O3N", "Arrow of Time", "Video Jigsaw", "RL"),
    *("3DRotNet", "Cubic Puzzles"),
    *("FlowNet", "FlowNet2", "UnFlow", "CrossPixel", "CrossModel", "PoseAction"),
    *("EgoMotion", "LearnByMove", "TiedEgoMotion", "GoNet", "DepthFlow", "VisualOdometry", "ActiveStereoNet"),
    *("LookListenLearn", "AVTS", "AudioVisual", "AmbientSound"),
}


def test_every_system_has_a_row_and_none_has_two_names() -> None:
    assert len(SYSTEMS) == 68
    assert {facts.system for facts in overview() if facts.system} == SYSTEMS


def test_every_system_says_its_paper_and_family() -> None:
    for task in tasks().values():
        if task.system:
            assert task.paper and task.family in FAMILIES[:-1], task.name


def test_the_page_says_of_each_what_it_says_of_itself() -> None:
    """If not: python docs/pretexts_table.py."""
    assert PAGE.read_text() == written(PAGE.read_text())
