"""Data sets' layouts and their way to BIDS; a new one is a file with ``recognises`` and ``visits``, and a row."""

from m2diff.layouts.convert import LAYOUTS, convert, recognise

__all__ = ["LAYOUTS", "convert", "recognise"]
