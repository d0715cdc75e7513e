"""What the tests of several folders share."""

from __future__ import annotations

import pytest

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="


@pytest.fixture
def plain_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports with pictures of one pixel: drawing them takes longer than all else. ``tests/reporting`` draws them."""
    for name in ("three_planes", "axial_levels"):
        monkeypatch.setattr(f"m2diff.reporting.page.{name}", lambda *_, **__: PIXEL)
