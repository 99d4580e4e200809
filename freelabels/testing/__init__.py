"""Contract tests for plug-ins: for the author of a detector, field, storage or task. May import every layer.

    from freelabels.testing import check_detector
    from my_package.corners import Corners

    def test_corners_keep_the_contract() -> None:
        check_detector(Corners())

They need no test framework: each check returns nothing, or raises `ContractBroken` (an AssertionError) with one
sentence that says which rule is broken where. The built-in ones run through the same.
"""

from typing import TYPE_CHECKING

from freelabels.testing.broken import ContractBroken
from freelabels.testing.detector import check_detector
from freelabels.testing.field import check_field
from freelabels.testing.storage import check_storage

if TYPE_CHECKING:
    from freelabels.train.tasks.contract.task import Task

__all__ = ["ContractBroken", "check_detector", "check_field", "check_storage", "check_task"]


def check_task(task: "Task", elsewhere: bool = True) -> None:
    """Check that a task keeps the contract, on a small made-up batch and a small network.

    `freelabels.testing.task.check_task` lists the rules; it imports torch, so it is imported when this is called.
    elsewhere: two ranks are tried too, in two processes. Raises ContractBroken with one sentence for the first
    rule that is broken.
    """
    from freelabels.testing.task import check_task

    check_task(task, elsewhere)
