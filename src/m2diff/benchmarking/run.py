"""Run a comparison from end to end: train on equal terms, score everybody, write tables and a page.

    OUT/runs/NAME/      a training run per preset
    OUT/rows.jsonl      all measurements
    OUT/images/         the images that the page shows
    OUT/table.tsv       the tidy table; summary.tsv, comparisons.tsv, regions.tsv, separation.tsv: over persons
    OUT/benchmark.json  what was compared, on whom and how
    OUT/index.html      the page

The same command resumes a stopped run. With more methods, doses or weights it trains and scores only the new ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from m2diff.benchmarking import people, summary, training
from m2diff.benchmarking.cost import measured_costs
from m2diff.benchmarking.methods import DEFAULT_METHODS, STANDARD_SCAN, TRUTH, Method, parse_methods, with_weights
from m2diff.benchmarking.outcome import Outcome, benchmark_record, usual_drf
from m2diff.benchmarking.page import comparison_page
from m2diff.benchmarking.people import Sides
from m2diff.benchmarking.score import Row, ShownScan, Task, append_row, read_rows, scored_row, scoring_tasks
from m2diff.errors import BadInput
from m2diff.families import resolve
from m2diff.io.bids import write_json, write_tsv
from m2diff.nn.precision import best_device
from m2diff.reporting.comparison import write_comparison


def benchmark(
    data: Path | str,
    out: Path | str,
    *,
    methods: Sequence[str] = DEFAULT_METHODS,
    budget: str | None = None,
    test: Path | str | None = None,
    against: str | None = None,
    drf: Sequence[float] = (),
    overrides: Sequence[str] = (),
    jobs: int = 1,
    device: str = "auto",
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Compare ``methods`` on equal terms under ``out``; return the path of the page.

    ``data``: the cohort that presets are trained on. ``test``: the cohort that is scored; without it, persons held out
    of ``data``. ``budget``: ``1500steps`` or ``20min`` for each preset. ``overrides``: settings of every preset, such
    as ``train.lr=0.001``. ``against``: the method that the others are compared with. ``drf``: doses to score (default:
    all). ``jobs``: scoring processes, one thread each. Raises BadInput, before training, for an unknown method, unequal
    terms, an unread setting, or a person on both sides.
    """
    data, out, test = Path(data), Path(out), None if test is None else Path(test)
    if jobs < 1:
        raise BadInput(f"--jobs is the number of processes, 1 or more, got {jobs}; correct it.")
    if seed < 0:
        raise BadInput(f"--seed must be 0 or more, got {seed}; correct it.")
    device = best_device(device)
    chosen = parse_methods(methods)
    reference = _reference(chosen, against)
    presets = {method.name: method.source for method in chosen if method.kind == "preset"}
    names = list(dict.fromkeys(presets.values()))
    spending = training.Budget.parse(budget)
    training.refuse_unread_settings(overrides, presets=bool(names), test=test is not None)
    sides = _sides(data, test, drf, overrides)
    terms = training.Terms(data, sides, spending, tuple(overrides), device, jobs, progress)
    training.refuse_unequal_budgets(names, terms)
    models = {name: resolve(terms.preset(source).model) for name, source in presets.items()}
    people.refuse_seen_beforehand(chosen, models, sides)

    runs = training.trained_runs(names, out, terms)
    entries = with_weights(chosen, {name: run.weights for name, run in runs.items()})
    people.refuse_seen(entries, sides)

    shown = _shown(sides)
    tasks = scoring_tasks(entries, sides, shown, out / "images", seed=seed, device=device)
    images = {(task.entry.method.name, task.drf): task.image for task in tasks if task.image is not None}
    rows = _scored(tasks, sides, out, jobs=jobs, device=device, progress=progress)
    costs = measured_costs(entries, sides, out, device=device, progress=progress)
    return _written(Outcome(out, entries, sides, terms, runs, rows, costs, reference, shown, images))


def _reference(chosen: Sequence[Method], against: str | None) -> str:
    """The method to compare with: ``against``, or else the first M2Diff, or the last."""
    names = [method.name for method in chosen]
    if against is not None and against not in names:
        raise BadInput(f"--against must be one of the methods ({', '.join(names)}), got {against}; correct it.")
    return against or next((name for name in names if name.startswith("m2diff")), names[-1])


def _sides(data: Path, test: Path | None, drf: Sequence[float], overrides: Sequence[str]) -> Sides:
    """Who is trained on and who is scored; the overrides decide who of one cohort is held out."""
    if test is not None:
        return people.sides(data, test, drf=drf)
    split = training.hold_out_settings(overrides)
    persons, fraction = split.data.held_out, split.data.held_out_fraction
    return people.sides(data, None, drf=drf, held_out=persons, fraction=fraction, seed=split.train.seed)


def _scored(tasks: list[Task], sides: Sides, out: Path, *, jobs: int, device: str, progress: bool) -> tuple[Row, ...]:
    """The rows of all tasks; missing ones are made now."""
    from joblib import Parallel, delayed
    from tqdm import tqdm

    path = out / "rows.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept, failed = read_rows(path), []
    missing = [t for t in tasks if t.id not in kept or (t.image is not None and not t.image.is_file())]
    work = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(
        delayed(scored_row)(task, sides.root, device) for task in missing
    )
    for row in tqdm(work, total=len(missing), desc="score", unit="image", disable=not (progress and missing)):
        if "failed" in row:
            failed.append(f"{row['method']}, {row['scan']}: {row['failed']}")
        elif row["id"] not in kept:
            kept[row["id"]] = row | {"processes": jobs}  # seconds depend on how many ran at once
            append_row(path, kept[row["id"]])
    if failed:
        raise BadInput(
            f"{len(failed)} of {len(missing)} images could not be scored (the others are): {' '.join(failed[:3])} "
            "Leave such methods out, or mend what they need."
        )
    return tuple(kept[task.id] for task in tasks)


def _shown(sides: Sides) -> ShownScan:
    """The scan and the two doses of the pictures: a patient if there is one; a middle dose and the lowest."""
    there = [subject for subject in sides.test if set(sides.doses) & set(subject.low)]
    scan = next((subject for subject in there if subject.group == "ad"), there[0])
    doses = [drf for drf in sides.doses if drf in scan.low]
    middle = usual_drf(doses)
    other = doses[-1] if doses[-1] != middle else doses[0]
    return ShownScan(scan, tuple(dict.fromkeys((middle, other))))


def _written(outcome: Outcome) -> Path:
    """Write all tables and the page."""
    measured = outcome.measured
    whole = [(name, drf) for name in outcome.names for drf in outcome.sides.doses]
    whole += [(STANDARD_SCAN, 1.0), (TRUTH, 1.0)]
    tables = {
        "table": summary.table_lines(measured, outcome.trained_on),
        "summary": summary.summary_lines(measured, whole),
        "comparisons": summary.comparison_lines(outcome.compared),
        "regions": summary.region_lines(measured, whole),
        "separation": summary.separation_lines(measured, whole),
    }
    for name, lines in tables.items():
        write_tsv(outcome.out / f"{name}.tsv", lines)
    write_json(outcome.out / "benchmark.json", benchmark_record(outcome))
    return write_comparison(outcome.out / "index.html", comparison_page(outcome))
