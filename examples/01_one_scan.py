# %% [markdown]
# # One scan, from a simulated person to scores
#
# Everything that `m2diff demo` does, step by step in Python. Under two minutes on a laptop.

# %% A person who was never scanned: MNI152, warped; a standard scan and a twentieth of its counts
import sys
import tempfile
from pathlib import Path

import m2diff
from m2diff.io import bids

folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
m2diff.simulate(folder / "cohort", 1, drf=[20], group="ad", seed=7, progress=False)
person = bids.find_subjects(folder / "cohort")[0]

# %% Enhance the low-dose scan with the weights that ship in the package
enhanced = m2diff.enhance(person.low[20.0], person.t1, drf=20, seed=1)
print(enhanced.volume.shape, enhanced.volume.unit, enhanced.warnings)

# %% How much nearer to the standard-dose scan did it come, inside the brain?
before = m2diff.evaluate(enhanced.low, person.standard, mask=person.mask).scores
after = m2diff.evaluate(enhanced.volume, person.standard, mask=person.mask).scores
print(f"PSNR {before.psnr:.1f} -> {after.psnr:.1f} dB, SSIM {before.ssim:.3f} -> {after.ssim:.3f}")
assert after.psnr > before.psnr + 3
