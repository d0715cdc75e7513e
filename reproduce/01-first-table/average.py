"""Weights between a run's start and its end: python average.py START.safetensors RUN SHARE OUT

SHARE of the end, the rest of the start, parameter by parameter; OUT becomes a folder of weights and the run's card,
which then says so. What it bought is in stage5.sh.
"""

import json
import sys
from pathlib import Path

from safetensors.torch import save_file

from m2diff.families import packed, stored

start, run, share, out = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
end = run / "weights.safetensors"  # by its path: a name could be that of shipped weights
first, last = packed.load(start), packed.load(end)
card = stored.read_card(end)
card["training"]["averaged"] = f"{share:g} of the weights at the end and {1 - share:g} of those it began from"
out.mkdir(parents=True, exist_ok=True)
mean = {key: ((1 - share) * first[key].float() + share * last[key].float()).contiguous() for key in last}
save_file(mean, out / "weights.safetensors")
(out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
