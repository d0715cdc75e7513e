"""Scores of weights on people that no run had seen, as their card holds them under ``results.test``.

    "results": {"test": {"on": "10 simulated scans of 5 held-out people, ...", "by": "reproduce/.../table.py ...",
                         "by_drf": {"20": {"psnr": 30.78, "psnr_interval": [30.35, 31.34], "ssim": 0.934,
                                           "input_psnr": 24.91}, ...}}}

``results`` itself is the validation during training (``training.validate``), which steered the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from m2diff.errors import BadInput

_Interval = tuple[float, float]


class CardScores(BaseModel):
    """Means over the test scans of one dose, inside the brain; PSNR in dB, 95 % intervals over persons."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    psnr: float
    input_psnr: float
    psnr_interval: _Interval | None = None
    ssim: float | None = None
    input_ssim: float | None = None
    ssim_interval: _Interval | None = None
    nrmse: float | None = None
    input_nrmse: float | None = None


class Measured(BaseModel):
    """A benchmark of one set of weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: str
    """The scans: how many, of how many people, against what, and where."""
    by: str
    """The command that measured it."""
    by_drf: dict[str, CardScores]
    """By dose reduction factor, such as ``"20"``."""

    @field_validator("by_drf")
    @classmethod
    def _are_factors(cls, value: dict[str, CardScores]) -> dict[str, CardScores]:
        if any(float(drf) <= 1 for drf in value):
            raise ValueError("dose reduction factors lie above 1")
        return dict(sorted(value.items(), key=lambda pair: float(pair[0])))


def measured(card: Mapping[str, Any]) -> Measured | None:
    """The benchmark on ``card``, None where there is none; BadInput where it has another form."""
    found = (card.get("results") or {}).get("test")
    if found is None:
        return None
    try:
        return Measured.model_validate(found)
    except ValidationError as errors:
        first = errors.errors()[0]
        place = ".".join(["results", "test", *map(str, first["loc"])])
        raise BadInput(f"The card's {place} is not as it should be ({first['msg']}); correct it.") from errors
