"""Step 6, honest scores: metrics, regions, lesions, dose equivalence and comparisons, all inside a fixed brain mask."""

from m2diff.verbs import make_verb

make_verb(__name__, "m2diff.evaluate.study:evaluate")
