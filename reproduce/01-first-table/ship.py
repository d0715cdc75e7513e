"""Ship a run's weights and card: python ship.py RUN DESTINATION [RESULTS.json], in the form of enhance/results.py.

Four bits of fraction: on two test scans (DRF 20 and 100) within 0.003 dB of ten, at three fifths of the size.
"""

import sys
from pathlib import Path

from m2diff.enhance.results import Measured, ship

run, destination, *results = map(Path, sys.argv[1:])
test = Measured.model_validate_json(results[0].read_text()) if results else None
ship(run, destination, test, bits=4, looks=2)
