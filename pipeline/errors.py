"""Errors whose message is meant for the user."""


class UserError(Exception):
    """Bad input or a hindrance from outside: one sentence that says what is wrong and what to do."""
