"""Every method on equal terms: trained on the same data with the same budget, scored on the same people, one page."""

from m2diff.verbs import make_verb

make_verb(__name__, "m2diff.benchmark.run:benchmark")
