"""The benchmark's numbers as Markdown: python tables.py BENCHMARK [BENCHMARK ...] > results/tables.md

Reads summary.tsv, separation.tsv and costs.json of each ``--out``; a method's first mention counts.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

COLUMNS = {
    ("standard", "psnr"): "PSNR dB (95 %)",
    ("standard", "ssim"): "SSIM",
    ("noise-free", "psnr"): "PSNR, noise-free",
    ("noise-free", "dose_gain"): "worth x its dose",
    ("noise-free", "regional_error_percent"): "mean regional error %",
    ("standard", "white_matter_cov_ratio"): "texture / standard's",
    ("noise-free", "recovery, pet_hot"): "hot lesions",
    ("noise-free", "recovery, pet_cold"): "cold lesions",
    ("noise-free", "leakage, mri_only"): "leakage",
    ("noise-free", "flicker"): "flicker",
}
MARKER = "meta_roi_spared_ratio"


def read(folders: list[Path], name: str) -> list[dict[str, str]]:
    """The lines of one table of all folders."""
    rows = []
    for folder in folders:
        with (folder / name).open(newline="") as file:
            rows += list(csv.DictReader(file, delimiter="\t"))
    return rows


def main(folders: list[Path]) -> str:
    """All tables."""
    summary = [row for row in read(folders, "summary.tsv") if row["group"] == "all"]
    apart = {(row["method"], row["drf"]): row for row in read(folders, "separation.tsv") if row["marker"] == MARKER}
    costs: dict[str, Any] = {}
    for folder in folders:
        for key, cost in json.loads((folder / "costs.json").read_text()).items():
            costs.setdefault(key.split()[0], cost)
    found: dict[tuple[str, str], dict[tuple[str, str], dict[str, str]]] = {}
    for row in summary:
        found.setdefault((row["drf"], row["method"]), {}).setdefault((row["against"], row["metric"]), row)
    lines = []
    for drf in sorted({drf for drf, _ in found}, key=float):
        if drf == "1":
            continue
        lines += [f"\n## DRF {drf}\n", "| method | " + " | ".join(COLUMNS.values()) + " | AUC |"]
        lines.append("|---" * (len(COLUMNS) + 2) + "|")
        for (dose, method), cells in found.items():
            if dose == drf:
                auc = apart.get((method, drf))
                shown = [text(key, cells.get(key)) for key in COLUMNS] + [f"{float(auc['auc']):.2f}" if auc else ""]
                lines.append(f"| {method} | " + " | ".join(shown) + " |")
    lines += ["\n## Cost, one brain, one CPU thread\n", "| method | parameters | seconds | peak memory, MiB |"]
    lines.append("|---" * 4 + "|")
    for method, cost in costs.items():
        lines.append(f"| {method} | {cost['parameters']:,} | {cost['seconds']:.1f} | {cost['peak_mib']:.0f} |")
    return "\n".join(lines).lstrip() + "\n"


def text(key: tuple[str, str], row: dict[str, str] | None) -> str:
    """A cell; the first column with its interval."""
    if row is None:
        return ""
    mean, low, high = (float(row[name]) for name in ("mean", "low", "high"))
    if key == ("standard", "psnr"):
        return f"{mean:.2f} ({low:.2f} to {high:.2f})"
    return f"{mean:.3f}" if key[1] in ("ssim", "leakage, mri_only") else f"{mean:.2f}"


if __name__ == "__main__":
    sys.stdout.write(main([Path(text) for text in sys.argv[1:]]))
