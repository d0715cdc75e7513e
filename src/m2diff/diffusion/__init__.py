"""The maths of denoising diffusion: schedule, objective, sampler. It knows nothing of what the images show."""

from m2diff.diffusion.objective import draw_noise, draw_steps, noised, q_sample
from m2diff.diffusion.sampler import Denoised, Watch, sample
from m2diff.diffusion.schedule import Schedule

__all__ = ["Denoised", "Schedule", "Watch", "draw_noise", "draw_steps", "noised", "q_sample", "sample"]
