"""Give weights one more class and one more window of the fit: python widen.py WEIGHTS DESTINATION.

The last class and the last window become two that share what the one had, so that the answer of the network is nearly
what it was; training then tells them apart. ``m2diff train --from DESTINATION`` goes on from there.
"""

import math
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

SLICES, FOLD = 8, 2
ROWS = SLICES * FOLD**2  # of a head's convolution, for one class or one window

source, destination = Path(sys.argv[1]), Path(sys.argv[2])
state = load_file(source)
for key, value in state.items():
    if ".guide.conv." in key or ".blend.conv." in key:
        value = value.clone()
        if key.endswith("bias"):
            value[-ROWS:] -= math.log(2.0)
        state[key] = torch.cat([value, value[-ROWS:]])
destination.parent.mkdir(parents=True, exist_ok=True)
save_file(state, destination)
shutil.copy(source.with_suffix(".json"), destination.with_suffix(".json"))
