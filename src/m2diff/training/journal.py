"""What a run shows while it runs: a progress bar with loss and throughput, and TensorBoard scalars."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from m2diff.errors import BadInput
from m2diff.training.validate import Validation


@dataclass
class Means:
    """Means of the loss terms since they were last read, over the steps that had the term."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, terms: dict[str, Tensor]) -> None:
        """Add one step's terms, without waiting for the device."""
        for name, value in terms.items():
            value = value.detach()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1

    def read(self) -> dict[str, float]:
        """The means; starts again."""
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means


def summary_writer() -> Any:
    """TensorBoard's writer class; BadInput with the extra to install where it is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise BadInput("training needs tensorboard, which is not installed; pip install 'm2diff[train]'.") from None
    return SummaryWriter


class Journal:
    """The bar and the scalars of one process; ``main``: the first one. ``steps`` None: time is the limit."""

    def __init__(self, folder: Path, name: str, *, first: int, steps: int | None, progress: bool, main: bool) -> None:
        from tqdm import tqdm

        self.writer = summary_writer()(str(folder), purge_step=first) if main else None
        self.bar = tqdm(
            total=steps,
            initial=first,
            unit="step",
            desc=name,
            disable=not (progress and main),
            file=sys.stderr,
            dynamic_ncols=True,
        )
        self.since, self.from_step = time.monotonic(), first
        self.shown: dict[str, str] = {}

    def step(self) -> None:
        """One step is done."""
        self.bar.update()

    def losses(self, step: int, means: dict[str, float], *, lr: float, slabs_a_step: int) -> None:
        """Show and write the mean losses up to ``step``, the learning rate and the slabs a second."""
        now = time.monotonic()
        rate = (step - self.from_step) * slabs_a_step / max(now - self.since, 1e-9)
        self.since, self.from_step = now, step
        self._show(loss=f"{means['loss']:.4f}", slabs_per_s=f"{rate:.1f}")
        parts = {f"loss/{name}": value for name, value in means.items() if name != "loss"}
        self._write({"loss": means["loss"], **parts, "lr": lr, "slabs_per_s": rate}, step)

    def validation(self, step: int, result: Validation) -> None:
        """Show and write the scores of held-out scans; their time does not count as training time."""
        self._show(psnr=f"{result.psnr:.2f}")
        if not self.bar.disable:
            self.bar.write(_sentence(step, result), file=sys.stderr)
        scores = {f"psnr/drf{drf}": row["psnr"] for drf, row in result.by_dose().items()}
        gains = {f"gain/drf{drf}": row["psnr"] - row["input_psnr"] for drf, row in result.by_dose().items()}
        self._write({**scores, **gains, "gain/mean": result.gain}, step)
        self.since, self.from_step = time.monotonic(), step

    def close(self) -> None:
        """Write what is left."""
        self.bar.close()
        if self.writer is not None:
            self.writer.close()

    def _show(self, **values: str) -> None:
        """Values behind the bar, beside those that it shows already."""
        self.shown |= values
        self.bar.set_postfix(self.shown)

    def _write(self, scalars: dict[str, float], step: int) -> None:
        if self.writer is not None:
            for name, value in scalars.items():
                self.writer.add_scalar(name, value, step)


def _sentence(step: int, result: Validation) -> str:
    """A validation in one line."""
    count, calls = len(result.scans), f"{result.calls} network call{'s' * (result.calls > 1)}"
    return (
        f"Step {step}: PSNR {result.psnr:.2f} dB by {calls}, of the input {result.input_psnr:.2f} dB, mean of "
        f"{count} held-out scan{'s' * (count > 1)}."
    )
