"""The one error a user is meant to read, and the one warning: what was expected, what came, what to do."""

from __future__ import annotations


class BadInput(ValueError):
    """Input that the tool refuses at its border.

    The message is one sentence for a person: what was expected, what came, what to do. The command line prints it
    and leaves with exit code 2; Python callers catch it like any ``ValueError``.
    """


class Notice(UserWarning):
    """Something that a user should know and that stops nothing; the command line prints it as a note."""
