"""Ship a run's weights and card: python ship.py RUN DESTINATION [RESULTS.json], in the form of enhance/results.py."""

import sys
from pathlib import Path

from m2diff.enhance.results import Measured, ship

run, destination, *results = map(Path, sys.argv[1:])
ship(run, destination, Measured.model_validate_json(results[0].read_text()) if results else None)
