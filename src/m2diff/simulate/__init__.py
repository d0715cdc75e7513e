"""Step 0, a cohort when no scan may be shared: anatomy -> tracer -> scanner -> BIDS dataset."""

from m2diff.verbs import make_verb

make_verb(__name__, "m2diff.simulate.cohort:simulate")
