"""Training: one configuration, one loop, checkpoints that resume exactly."""

from m2diff.verbs import make_verb

make_verb(__name__, "m2diff.train.loop:train")
