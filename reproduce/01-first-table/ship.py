"""Ship a run's weights and card: python ship.py RUN DESTINATION [RESULTS.json], in the form of enhancement/results.py.

Packed in steps of a tenth of each row's root mean square: a fifth, as the third edition had it, cost 0.02 dB at DRF 20
and at DRF 100 (two scans of person 1036).
"""

import sys
from pathlib import Path

from m2diff.enhancement.results import Measured, ship

run, destination, *results = map(Path, sys.argv[1:])
test = Measured.model_validate_json(results[0].read_text()) if results else None
ship(run, destination, test, step=0.1, looks=2)
