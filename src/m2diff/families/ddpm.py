"""The conditional DDPM: one U-Net reads x_t, the low-dose PET and the MRI, all concatenated at the first convolution.

The control for M2Diff's two branches: Ho et al. 2020 (arXiv 2006.11239) with a clean-image prediction, conditioned as
in Saharia et al. 2021.
"""

from __future__ import annotations

from typing import Literal

from m2diff.families.single import SingleDiffusion, SingleDiffusionConfig


class DDPMConfig(SingleDiffusionConfig):
    """Everything that a preset says about the model."""

    family: Literal["ddpm"] = "ddpm"


class DDPM(SingleDiffusion):
    """The trunk as it is."""
