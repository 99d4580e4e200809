"""Errors whose message is meant for the user."""


class UserError(Exception):
    """Bad input or a hindrance from outside: one sentence that says what is wrong and what to do."""


class Unwritable(UserError):
    """The place of the output takes nothing more: whatever else is to be written would fail as well."""


class CorruptShard(UserError):
    """Stored bytes that are missing or don't match their checksum."""
