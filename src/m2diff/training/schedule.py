"""The learning rate, a pure function of the step, so that a run resumes exactly."""

from __future__ import annotations

import math

from m2diff.training.config import TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """The rate of step ``step`` (0 is the first): a linear rise, then a cosine to 0, or constant and a cool-down."""
    rise = config.lr * min(1.0, (step + 1) / (config.warmup + 1))
    if config.schedule == "constant":
        left = max(config.steps - step, 0)
        return rise * min(1.0, left / config.cooldown) if config.cooldown else rise
    done = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return rise * 0.5 * (1.0 + math.cos(math.pi * min(max(done, 0.0), 1.0)))
