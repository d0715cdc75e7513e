"""How a stage's folder is also its verb: ``m2diff.enhance`` is a package, and ``m2diff.enhance(pet)`` does the work.

A package named as its verb would otherwise hide the function of the same name as soon as anything imports it.
"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class Verb(ModuleType):
    """A package that can be called; the module with its function is loaded at the first call."""

    _function: str

    @property
    def __wrapped__(self) -> Any:
        """The function behind the call, for ``inspect.signature`` and ``help``."""
        module, name = self._function.split(":")
        return getattr(import_module(module), name)

    @property
    def __signature__(self) -> inspect.Signature:
        """The signature of the function behind the call."""
        return inspect.signature(self.__wrapped__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do what the package is named for."""
        return self.__wrapped__(*args, **kwargs)


def make_verb(package: str, function: str) -> None:
    """Let ``package`` (a module's name) be called as ``function`` (``module:name``)."""
    module = sys.modules[package]
    module.__class__ = Verb
    module._function = function  # type: ignore[attr-defined]
