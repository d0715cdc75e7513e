"""Data sets as people have them, and the way from each of them to BIDS (and back, for the authors' slices).

Each layout is one file with ``recognises`` and ``visits``; a new one is that and a row in ``LAYOUTS``.
"""

from m2diff.layouts.convert import LAYOUTS, convert, recognise

__all__ = ["LAYOUTS", "convert", "recognise"]
