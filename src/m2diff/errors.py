"""The error and the warning that users read."""

from __future__ import annotations


class BadInput(ValueError):
    """Refused input, in one sentence: what was expected, what came, what to do. The command line exits with code 2."""


class Notice(UserWarning):
    """Something that the user should know and that stops nothing; the command line prints it as a note."""
