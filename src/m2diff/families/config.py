"""Settings that families share; all are frozen, and an unknown key is an error."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from m2diff.batch import CLASSES
from m2diff.diffusion.sampler import Variance
from m2diff.diffusion.schedule import Schedule, Spacing
from m2diff.nn import FitHead, Folding, PixelHead, PixelStem, UNetShape
from m2diff.nn.fit import CELL


class Settings(BaseModel):
    """Base of all settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FitConfig(Settings):
    """A head that fits the low-dose slab within the soft classes of ``batch.CLASSES`` (``nn.FitHead``)."""

    windows: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (1, 4)
    """Sizes of the windows, in passes of a mean over 3 x 3 x 3 cells of 4 x 4 x 2 voxels, ascending."""
    judged: bool = False
    """Weigh the answer, the fits and the scan once more at each voxel (``nn.judge``)."""


class UNetConfig(Settings):
    """The size of a family's U-Nets and of its view."""

    slices: Annotated[int, Field(ge=1)] = 8
    """Neighbouring slices of a slab; 1 is the paper's single slice."""
    fold: Annotated[int, Field(ge=1)] = 2
    """Pixels of a side that become channels before the first convolution; 2 runs the U-Net at half resolution."""
    spatial: Literal[2, 3] = 2
    """3: convolutions run along the slices too; 2: the slices are channels, as in the single-slice papers."""
    width: Annotated[int, Field(ge=4)] = 64
    """Base channels."""
    multipliers: Annotated[tuple[Annotated[float, Field(gt=0.0)], ...], Field(min_length=1)] = (1.0, 1.5, 2.0)
    """Channels of each level, in base channels, finest first."""
    blocks: Annotated[int, Field(ge=1)] = 1
    attention: tuple[int, ...] = ()
    """Levels with self-attention, 0 the finest."""
    middle_attention: bool = False
    heads: Annotated[int, Field(ge=1)] = 4
    groups: Annotated[int, Field(ge=1)] = 32
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    fit: FitConfig | None = None
    """End of the network: a mixture of the low-dose slab and its fits, or (None, the papers) a convolution."""

    @model_validator(mode="after")
    def _slices_fold(self) -> Self:
        deep = self.fold * self.shape.multiple
        if self.spatial == 3 and self.slices % deep:
            raise ValueError(f"with network.spatial=3, network.slices must divide by {deep}, got {self.slices}")
        return self

    @model_validator(mode="after")
    def _levels_have_channels(self) -> Self:
        if min(self.shape.widths) < 1:
            least = min(self.multipliers)
            raise ValueError(f"network.width times a multiplier is a number of channels, got {least:g} of {self.width}")
        return self

    @model_validator(mode="after")
    def _attention_has_its_levels_and_heads(self) -> Self:
        widths = self.shape.widths
        unknown = [level for level in self.attention if not 0 <= level < len(widths)]
        if unknown:
            raise ValueError(f"network.attention names levels 0 to {len(widths) - 1}, got {unknown[0]}")
        levels = {*self.attention, *([len(widths) - 1] if self.middle_attention else [])}
        odd = [widths[level] for level in sorted(levels) if widths[level] % self.heads]
        if odd:
            raise ValueError(
                f"where a level has attention, its channels must divide by network.heads, got {odd[0]} and {self.heads}"
            )
        return self

    @property
    def folding(self) -> Folding:
        """Between slabs and the grid that the U-Net runs on."""
        return Folding(self.slices, self.fold, self.spatial)

    def new_stem(self, images: int = 1) -> PixelStem:
        """The first layer of a U-Net that reads ``images`` images."""
        return PixelStem(self.folding, self.shape.widths[0], images)

    def new_head(self) -> FitHead | PixelHead:
        """The last layer of a U-Net."""
        channels = self.shape.widths[0]
        if self.fit is None:
            return PixelHead(channels, self.folding)
        return FitHead(channels, self.folding, len(CLASSES), self.fit.windows, judged=self.fit.judged)

    @property
    def multiple(self) -> int:
        """What the height and width of a slab must divide by."""
        return math.lcm(self.fold * self.shape.multiple, CELL if self.fit is not None else 1)

    @property
    def shape(self) -> UNetShape:
        """The sizes for Encoder and Decoder."""
        return UNetShape(
            widths=tuple(round(self.width * m) for m in self.multipliers),
            blocks=self.blocks,
            embedding=4 * self.width,
            attention=self.attention,
            heads=self.heads,
            groups=self.groups,
            dropout=self.dropout,
            spatial=self.spatial,
        )


class DiffusionConfig(Settings):
    """The chain, and how training draws its steps."""

    steps: Annotated[int, Field(ge=2)] = 1000
    first_beta: Annotated[float, Field(gt=0.0)] = 1e-4
    last_beta: Annotated[float, Field(lt=1.0)] = 0.02
    first_step_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    """Share of the training draws at t = T - 1, where sampling starts; the others are uniform."""

    @model_validator(mode="after")
    def _noise_grows(self) -> Self:
        if self.first_beta > self.last_beta:
            raise ValueError(
                f"diffusion.first_beta must not lie above last_beta, got {self.first_beta:g} and {self.last_beta:g}"
            )
        return self

    def schedule(self) -> Schedule:
        """The chain of these settings."""
        return Schedule.linear(self.steps, self.first_beta, self.last_beta)


class SamplingConfig(Settings):
    """How a family samples unless told otherwise; the arguments of ``diffusion.sample``."""

    steps: Annotated[int, Field(ge=1)] = 1
    eta: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    variance: Variance = "small"
    spacing: Spacing = "trailing"
    clip: Annotated[float, Field(gt=0.0)] | None = None
    stochastic_every: Annotated[int, Field(ge=0)] = 0
    start: Annotated[int, Field(ge=0)] | None = None
    """Step where a chain begins, from ``enhance``'s ``first``, noised; None: from noise alone."""

    @model_validator(mode="after")
    def _large_variance_is_ancestral(self) -> Self:
        if self.variance == "large" and self.eta != 1.0:
            raise ValueError(f"sampling.variance=large belongs to sampling.eta=1, got {self.eta:g}")
        return self


def lies_on_the_chain(sampling: SamplingConfig, diffusion: DiffusionConfig) -> None:
    """Refuse a start or a number of sampling steps beyond the chain."""
    start = sampling.start
    if start is not None and start >= diffusion.steps:
        raise ValueError(f"sampling.start must lie below diffusion.steps ({diffusion.steps}), got {start}")
    most = diffusion.steps if start is None else start + 1
    if sampling.steps > most:
        raise ValueError(f"sampling.steps must not exceed the chain's {most} steps, got {sampling.steps}")


class DropoutConfig(Settings):
    """Conditions that training hides, so that a network can do without them."""

    mri: Annotated[float, Field(ge=0.0, le=1.0)] = 0.15
    """Probability that a whole batch goes without its MRI."""
    dose: Annotated[float, Field(ge=0.0, le=1.0)] = 0.3
    """Probability that an item's dose is unknown."""


class AnswerLoss(Settings):
    """What any family's loss may add to its own squared errors (``terms.with_answer``)."""

    classes: Annotated[float, Field(ge=0.0)] = 0.0
    """Cross-entropy of a fit's classes against a simulation's tissues."""
    levels: Annotated[float, Field(ge=0.0)] = 0.0
    """Error of each tissue's local mean (``terms.level_error``), where a simulation knows the tissues."""
    shrinkage: Annotated[float, Field(ge=0.0)] = 0.0
    """Squared error proportional to the truth (``terms.shrinkage_error``)."""
    balance: bool = True
    """Divide each item's squared error by the RMSE of its input, so that every dose counts."""
    dropout: DropoutConfig = DropoutConfig()


class SingleLoss(AnswerLoss):
    """The loss of a network with one head: squared error."""

    forms_first: ClassVar[bool] = False
    """Whether the network forms a first estimate; where not, ``first`` is refused."""
    first: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight of that first estimate's error."""

    @model_validator(mode="after")
    def _first_is_formed(self) -> Self:
        if self.first and not self.forms_first:
            raise ValueError("loss.first must be 0: this family forms no first version of the scan")
        return self


class NoiseLoss(SingleLoss):
    """The loss of a network that predicts the noise, as implied by its clean estimate."""

    most: Annotated[float, Field(gt=0.0)] | None = 5.0
    """Largest weight of an item's clean error (min-SNR); None: the plain squared error of the noise."""
