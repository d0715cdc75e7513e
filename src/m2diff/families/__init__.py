"""The model families, built by name from a preset's ``model:`` section; how to add one: docs/adding-a-family.md.

Names are loaded at their first use, so that ``stored`` reads cards without PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m2diff.families.base import DiffusionFamily, Enhancer, Trainable
    from m2diff.families.registry import FAMILIES, build, family_names, resolve

__all__ = ["FAMILIES", "DiffusionFamily", "Enhancer", "Trainable", "build", "family_names", "resolve"]


def __getattr__(name: str) -> Any:
    """Load a public name from the module where it lives, at its first use."""
    if name not in __all__:
        raise AttributeError(f"module 'm2diff.families' has no attribute {name!r}")
    home = "base" if name in ("DiffusionFamily", "Enhancer", "Trainable") else "registry"
    return getattr(import_module(f"m2diff.families.{home}"), name)
