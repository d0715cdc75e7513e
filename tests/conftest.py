"""What the tests of several folders share."""

from __future__ import annotations

import pytest

WHOLE = ("parcellation", "trust", "test_trusted")


@pytest.fixture(autouse=True)
def quick_checks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No regions, and a threshold that is not simulated: seconds a scan. The tests of ``WHOLE`` have both."""
    if not any(name in request.node.nodeid for name in WHOLE):
        monkeypatch.setattr("m2diff.enhancement.trusted.find", lambda *_: (None, ()))
        monkeypatch.setattr("m2diff.trust.hidden.noise_threshold", lambda *_: 5.0)
