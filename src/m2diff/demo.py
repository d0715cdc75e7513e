"""The main job on one simulated person: simulate, enhance, evaluate, report.

The person is warped from the MNI152 template, which no training cohort was made from, and has Alzheimer's-type
hypometabolism. Everything comes from what pip installs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
