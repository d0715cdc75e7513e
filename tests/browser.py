"""A page in headless Chromium: what a script finds there once it has loaded. Skips where no Chromium is installed."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def seen(page: str, script: str, folder: Path, *options: str) -> Any:
    """What ``script`` (the body of a function, JSON out) returns on ``page``."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("Chromium is not installed")
    probe = f"""<script>addEventListener("load", () => {{
        const out = document.createElement("pre"), run = () => {{ {script} }};
        try {{ out.textContent = JSON.stringify(run()); }} catch (error) {{ out.textContent = `"${{error}}"`; }}
        out.id = "outcome"; document.body.append(out);
    }});</script></body>"""
    path = folder / "probe.html"
    path.write_text(page.replace("</body>", probe), encoding="utf-8")
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", *options]
    command += [f"--user-data-dir={folder / 'profile'}", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<pre id="outcome">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found[1]))
