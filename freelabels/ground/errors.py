"""Errors whose message is meant for the user."""


class UserError(Exception):
    """Bad input or a hindrance from outside: one sentence that says what is wrong and what to do."""


class Unwritable(UserError):
    """The place of the output takes nothing more: whatever else is to be written would fail as well."""


class CorruptShard(UserError):
    """Stored bytes that can't be read as a shard: damaged, unless it is of a kind below that may be whole."""


class MissingFile(CorruptShard):
    """A file of a shard that is not there: lost, or the shard has a newer revision that has taken its place."""


class NewerSchema(CorruptShard):
    """A shard that a newer version wrote: whole, as far as this version can tell."""


class Replaced(UserError):
    """A shard that another process has changed meanwhile in a way that what was made here doesn't fit."""


class SourceError(Exception):
    """Why a source can't be used: one sentence without its name."""
