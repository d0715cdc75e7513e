"""When a run stops early: at a signal or a time limit."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any


@dataclass
class StopRequest:
    """Whether and why the run should stop after the present step."""

    deadline: float | None = None
    """On the clock of ``time.monotonic``; None for no limit."""
    signal: int | None = None
    """The signal that came, if one did."""

    @property
    def due(self) -> bool:
        """True as soon as there is a reason to stop."""
        return self.signal is not None or (self.deadline is not None and time.monotonic() >= self.deadline)


@contextmanager
def stop_requests(limit_minutes: float | None) -> Iterator[StopRequest]:
    """Note SIGTERM and SIGINT instead of ending; the former handlers come back afterwards."""
    request = StopRequest(None if limit_minutes is None else time.monotonic() + 60.0 * limit_minutes)

    def note(number: int, frame: Any) -> None:
        request.signal = number

    before: dict[signal.Signals, Any] = {}
    with suppress(ValueError):  # not the main thread, which alone handles signals
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
