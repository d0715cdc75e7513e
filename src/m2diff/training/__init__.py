"""Training: one configuration, one loop, checkpoints that resume exactly."""
