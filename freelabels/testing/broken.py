"""What a contract test says when something breaks the contract."""


class ContractBroken(AssertionError):
    """One sentence that names the plug-in and the rule that it breaks."""
