"""Step 2, scans -> a prepared pair: one grid, one scale, one place; every step has its inverse."""

from m2diff.verbs import make_verb

make_verb(__name__, "m2diff.prepare.pair:prepare")
