"""What a method costs: parameters, and the peak memory of a fresh process that enhances one brain.

OUT/costs.json holds, by method, identity, device and scan: parameters, peak and base memory in MiB, seconds, device.
Each method runs on one thread of a Python of its own (``python -m m2diff.benchmarking.cost``). Base memory is taken
before enhancement: imports, scan, MRI, weights.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from m2diff.benchmarking.methods import Entry, enhanced_by, weights_of
from m2diff.benchmarking.people import Sides, scan_id
from m2diff.errors import BadInput
from m2diff.io import nifti
from m2diff.io.bids import write_json


@dataclass(frozen=True)
class Cost:
    """Cost of one method; memory in MiB, of the GPU where one is used."""

    parameters: int
    peak_mib: float
    base_mib: float
    seconds: float
    device: str


def measured_costs(
    entries: Sequence[Entry], sides: Sides, out: Path, *, device: str, progress: bool
) -> dict[str, Cost]:
    """The cost of every method but the input, measured once and kept in OUT/costs.json."""
    from tqdm import tqdm

    path = out / "costs.json"
    kept: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    subject = next(subject for subject in sides.test if set(sides.doses) & set(subject.low))
    drf = next(drf for drf in sides.doses if drf in subject.low)
    scan = scan_id(subject)
    wanted = {f"{e.method.name} {e.identity} {device} {scan}": e for e in entries if e.method.kind != "input"}
    missing = [key for key in wanted if key not in kept]
    for key in tqdm(missing, desc="cost", unit="method", disable=not (progress and missing)):
        entry = wanted[key]
        kept[key] = asdict(_measured(entry, subject.low[drf], subject.t1, drf, device))
        write_json(path, kept)
    return {entry.method.name: Cost(**kept[key]) for key, entry in wanted.items()}


def _measured(entry: Entry, pet: Path, mri: Path | None, drf: float, device: str) -> Cost:
    """Measure in a new Python process."""
    command, question = [sys.executable, "-m", "m2diff.benchmarking.cost"], (entry, pet, mri, drf, device)
    done = subprocess.run(command, input=pickle.dumps(question), capture_output=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.decode().strip().splitlines() or ["no reason given"])[-1]
        raise BadInput(f"The cost of {entry.method.name} could not be measured: {last}; run the same command again.")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def _measured_here(entry: Entry, pet: Path, mri: Path | None, drf: float, device: str) -> Cost:
    """Enhance one brain in this process; memory is that of the whole process so far."""
    import torch

    torch.set_num_threads(1)
    low = nifti.load(pet)
    t1 = nifti.load(mri, what="MRI") if mri is not None and entry.method.mri else None
    model = getattr(weights_of(entry)[0], "model", None)
    parameters = sum(p.numel() for p in model.parameters()) if isinstance(model, torch.nn.Module) else 0
    base, begun = _memory(device), time.perf_counter()
    enhanced_by(entry, low, t1, drf=drf, device=device)
    return Cost(parameters, _memory(device), base, time.perf_counter() - begun, device)


def _memory(device: str) -> float:
    """Peak memory of this process so far, in MiB."""
    if device != "cpu":
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: getrusage may report the parent's peak
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_measured_here(*pickle.load(sys.stdin.buffer)))) + "\n")
