"""Contract tests for plug-ins: what the author of a detector, a field or a storage runs. May import every layer.

    from freelabels.testing import check_detector
    from my_package.corners import Corners

    def test_corners_keep_the_contract() -> None:
        check_detector(Corners())

They need no test framework: each check returns nothing, or raises `ContractBroken` (an AssertionError) with one
sentence that says which rule is broken where. The built-in detectors, fields and storages run through the same.
"""

from freelabels.testing.broken import ContractBroken
from freelabels.testing.detector import check_detector
from freelabels.testing.field import check_field
from freelabels.testing.storage import check_storage

__all__ = ["ContractBroken", "check_detector", "check_field", "check_storage"]
