"""Step 5, a scan and weights in, the standard-dose scan out: on the scan's own grid and in its own unit."""

from m2diff.verbs import make_verb

make_verb(__name__, "m2diff.enhance.run:enhance")
