"""Copy a run's weights and card under the name they ship with: python ship.py RUN DESTINATION."""

import shutil
import sys
from pathlib import Path

run, destination = Path(sys.argv[1]), Path(sys.argv[2])
shutil.copy(run / "weights.safetensors", destination.with_suffix(".safetensors"))
shutil.copy(run / "card.json", destination.with_suffix(".json"))
