"""Training: configuration, loop, and checkpoints that resume exactly."""
