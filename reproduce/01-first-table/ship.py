"""Ship a run's weights and card: python ship.py RUN DESTINATION [RESULTS.json], in the form of enhance/results.py.

Packed in steps of a fifth of each row's root mean square: 0.02 dB at DRF 20 and at DRF 100 on two scans of person 1036,
at three tenths of float16's size in the repository.
"""

import sys
from pathlib import Path

from m2diff.enhance.results import Measured, ship

run, destination, *results = map(Path, sys.argv[1:])
test = Measured.model_validate_json(results[0].read_text()) if results else None
ship(run, destination, test, step=0.2, looks=2)
