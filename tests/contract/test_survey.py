"""Which of the survey's systems on images are here; those that aren't yet are named."""

from docs.pretexts_table import PAGE, written
from freelabels.train.tasks.contract.task import FAMILIES
from freelabels.train.tasks.tasks import tasks

# Jing and Tian, Self-supervised visual feature learning with deep neural networks: a survey, 2019, by their names.
HERE = {
    *("GAN", "DCGAN", "WGAN", "BiGAN", "SelfGAN", "Context Encoder", "CompleNet", "SRGAN"),
    *("ColorfulColorization", "Colorization", "AutoColor", "Split-Brain"),
    *("ImproveContext", "Context Prediction", "Jigsaw", "Damaged Jigsaw", "Arbitrary Jigsaw", "DeepPermNet"),
    *("RotNet", "Learning2Count"),
    *("Boosting", "JointCluster", "DeepCluster", "ClusterEmbedding", "GraphConstraint", "PredictNoise"),
    *("Edge Detection", "Watching Move", "Cross Domain"),
}
MISSING = {"SpotArtifacts", "MultiTask"}


def test_every_system_that_is_here_has_a_row_and_none_has_two_names() -> None:
    found = {task.system for task in tasks().values() if task.system}
    assert found == HERE
    assert len(HERE) + len(MISSING) == 31 and not HERE & MISSING


def test_every_system_says_its_paper_and_family() -> None:
    for task in tasks().values():
        if task.system:
            assert task.paper and task.family in FAMILIES[:-1], task.name


def test_the_page_says_of_each_what_it_says_of_itself() -> None:
    """If not: python docs/pretexts_table.py."""
    assert PAGE.read_text() == written(PAGE.read_text())
