"""What a method costs: parameters, and the peak memory of a fresh process that answers one brain.

    OUT/costs.json   by method, identity, device and scan: parameters, peak and base memory in MiB, seconds, device

Every method is measured in a Python of its own (``python -m m2diff.benchmarking.cost REQUEST ANSWER``), on one thread;
base is what the process holds before it answers: the imports, the scan, the MRI, the weights.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from m2diff.benchmarking.people import Sides
from m2diff.benchmarking.plan import Entry, scan_id
from m2diff.errors import BadInput
from m2diff.io import bids
from m2diff.io.bids import write_json


@dataclass(frozen=True)
class Cost:
    """Of one method; memory in MiB, of the device's memory where it is not the CPU's."""

    parameters: int
    peak_mib: float
    base_mib: float
    seconds: float
    device: str


def costs(entries: Sequence[Entry], sides: Sides, out: Path, *, device: str, progress: bool) -> dict[str, Cost]:
    """The cost of every method but the input, measured once each and kept in OUT/costs.json."""
    from tqdm import tqdm

    path = out / "costs.json"
    kept: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    requests = {e.method.name: _request(e, sides, device) for e in entries if e.method.kind != "input"}
    scan = scan_id(_subject(sides))
    wanted = {f"{e.method.name} {e.identity} {device} {scan}": e for e in entries if e.method.name in requests}
    missing = [key for key in wanted if key not in kept]
    for key in tqdm(missing, desc="cost", unit="method", disable=not (progress and missing)):
        kept[key] = asdict(_measured(requests[wanted[key].method.name], wanted[key].method.name))
        write_json(path, kept)
    return {entry.method.name: Cost(**kept[key]) for key, entry in wanted.items()}


def _request(entry: Entry, sides: Sides, device: str) -> dict[str, Any]:
    """What the fresh process has to answer."""
    subject = _subject(sides)
    drf = next(drf for drf in sides.doses if drf in subject.low)
    return {
        "pet": str(subject.low[drf]),
        "mri": str(subject.t1) if entry.method.mri else None,
        "drf": drf,
        "weights": entry.weights or entry.method.source,
        "network": entry.weights is not None,
        "first": entry.first,
        "options": entry.method.options,
        "device": device,
    }


def _subject(sides: Sides) -> bids.Subject:
    """Whose brain is answered: the first who has a scored dose."""
    return next(subject for subject in sides.test if set(sides.doses) & set(subject.low))


def _measured(request: dict[str, Any], name: str) -> Cost:
    """Ask a Python of its own."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = Path(folder) / "request.json", Path(folder) / "answer.json"
        asked.write_text(json.dumps(request))
        command = [sys.executable, "-m", "m2diff.benchmarking.cost", str(asked), str(answer)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise BadInput(f"The cost of {name} could not be measured: {last}; run the same command again.")
        return Cost(**json.loads(answer.read_text()))


def probe(request: dict[str, Any]) -> Cost:
    """Answer one brain in this process; its memory is that of the whole process so far."""
    import torch

    from m2diff.enhancement import cards
    from m2diff.enhancement.run import enhance
    from m2diff.io import nifti

    torch.set_num_threads(1)
    pet = nifti.load(request["pet"])
    mri = None if request["mri"] is None else nifti.load(request["mri"], what="MRI")
    weights = cards.load_weights(request["weights"]) if request["network"] else request["weights"]
    first = None if request["first"] is None else cards.load_weights(request["first"])
    model = getattr(weights, "model", None)
    parameters = sum(p.numel() for p in model.parameters()) if isinstance(model, torch.nn.Module) else 0
    device, base = request["device"], _memory(request["device"])
    begun = time.perf_counter()
    enhance(
        pet, mri, weights=weights, first_estimate=first, drf=request["drf"], align=False, device=device,
        **request["options"],
    )  # fmt: skip
    return Cost(parameters, _memory(device), base, time.perf_counter() - begun, device)


def _memory(device: str) -> float:
    """The most that this process has held so far, in MiB."""
    if device != "cpu":
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: getrusage would tell the parent's peak where that was higher
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(asdict(probe(json.loads(Path(sys.argv[1]).read_text())))))
