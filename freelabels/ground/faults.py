"""Named points between two steps of what must never be left half done, where tests raise, kill or pause.

Nothing happens there unless a test puts a function in the place of `trouble`.
"""

# What has just been done there and what has not. Everywhere:
COMMON = {
    "commit: stands": "the revision stands, the one before is not retired",
    "index: read": "records are read, the index is not saved",
    "index: saved": "the index is saved",
    "scan cache: examined": "sources are examined, nothing is remembered",
    "scan cache: remembered": "a part of the cache is written",
    "scan cache: forgotten": "a part whose files have changed is removed",
    "repair: found": "what is broken is known, nothing is touched",
    "repair: kept": "the dataset's damaged record is in the quarantine, not written anew",
    "repair: mended": "the dataset's record is written anew",
    "checkpoint: written": "a checkpoint is written under another name, not renamed",
    "checkpoint: replaced": "it has its name, the folder is not synced",
}
# Where the dataset lies on a disk:
DISK = {
    "begin: written": "the dataset's record is written under another name, not yet linked",
    "begin: linked": "the dataset's record is there, its other name too",
    "small file: written": "a small file is written under another name, not renamed",
    "small file: replaced": "it has its name",
    "sweep: listed": "leftovers are listed, none is removed",
    "drop: hidden": "a folder or file is renamed away, not removed",
    "repair: noted": "the note is in the quarantine, the shard is not",
    "prune: removed": "a shard is removed from the quarantine, its note is not",
}
# Where a shard is a folder of files:
FOLDER = {
    "commit: begun": "the attempt's folder is made, empty",
    "commit: written": "its files are written, links not made",
    "commit: filled": "all is written and synced, not renamed",
    "commit: renamed": "it has its final name, its parent is not synced",
    "repair: moved": "the shard is in the quarantine",
}
# Where each commit is one object:
PACK = {
    "pack: made": "the object's bytes are made, nothing is written",
    "pack: stands": "it is there; not yet looked whether what it shares is",
    "pack: removed": "one of the objects of a revision is removed",
    "pack: copied": "a revision's objects are in the quarantine and where they were",
}
PACK_ON_DISK = {
    "pack: written": "the object is written under another name, not yet linked",
    "pack: linked": "it is there, its other name too",
}
# Where a shard is a folder of a store's objects:
STORE = {
    "store: marked": "the attempt is marked, none of its objects is put",
    "store: filled": "all its objects are put, the commit is not",
    "store: committed": "the commit is put, the mark is there still",
    "store: hidden": "a commit is removed, its objects are not",
    "store: copied": "a shard's objects are in the quarantine and where they were",
}
# By what the shards of a dataset lie on and how: the points that are passed there.
POINTS = {
    "folders": COMMON | DISK | FOLDER,
    "packed": COMMON | DISK | PACK | PACK_ON_DISK,
    "folders in a store": COMMON | STORE,
    "packed in a store": COMMON | PACK | {"repair: noted": DISK["repair: noted"]},
}


def trouble(point: str) -> None:
    """What happens at a point: nothing, but in tests."""


def reached(point: str) -> None:
    """A named point is reached."""
    trouble(point)
