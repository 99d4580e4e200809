"""Named points between two steps of what must never be left half done, where tests raise, kill or pause.

Nothing happens there unless a test puts a function in the place of `trouble`.
"""

# Where, and what has just been done there and what has not.
POINTS = {
    "begin: written": "the dataset's record is written under another name, not yet linked",
    "begin: linked": "the dataset's record is there, its other name too",
    "commit: begun": "the attempt's folder is made, empty",
    "commit: written": "its files are written, links not made",
    "commit: filled": "all is written and synced, not renamed",
    "commit: renamed": "it has its final name, its parent is not synced",
    "commit: stands": "the revision stands, the one before is not retired",
    "drop: hidden": "a folder or file is renamed away, not removed",
    "small file: written": "a small file is written under another name, not renamed",
    "small file: replaced": "it has its name",
    "index: read": "records are read, the index is not saved",
    "index: saved": "the index is saved",
    "sweep: listed": "leftovers are listed, none is removed",
    "scan cache: examined": "sources are examined, nothing is remembered",
    "scan cache: remembered": "a part of the cache is written",
    "scan cache: forgotten": "a part whose files have changed is removed",
    "repair: found": "what is broken is known, nothing is touched",
    "repair: noted": "the note is in the quarantine, the shard is not",
    "repair: moved": "the shard is in the quarantine",
    "repair: kept": "the dataset's damaged record is in the quarantine, not written anew",
    "repair: mended": "the dataset's record is written anew",
    "prune: removed": "a shard is removed from the quarantine, its note is not",
    "checkpoint: written": "a checkpoint is written under another name, not renamed",
    "checkpoint: replaced": "it has its name, the folder is not synced",
}


def trouble(point: str) -> None:
    """What happens at a point: nothing, but in tests."""


def reached(point: str) -> None:
    """A named point is reached."""
    trouble(point)
