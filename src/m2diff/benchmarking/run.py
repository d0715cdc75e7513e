"""The comparison from end to end: train what is asked on equal terms, score everybody, tables and a page.

    OUT/runs/NAME/      a training run a preset
    OUT/rows.jsonl      everything measured, as it comes
    OUT/images/         the answers that the page shows
    OUT/table.tsv       the tidy table; summary.tsv, comparisons.tsv, regions.tsv, separation.tsv: over persons
    OUT/benchmark.json  what was compared, on whom and how
    OUT/index.html      the page

Stopped anywhere, the same command goes on; what is there is not done again. More methods, doses or other weights may
be asked for later: only what is new is trained and scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from m2diff.benchmarking import methods as method_texts
from m2diff.benchmarking import overrides as settings
from m2diff.benchmarking import page, people, plan, seen, summary, training
from m2diff.benchmarking.about import about
from m2diff.benchmarking.budget import Budget
from m2diff.benchmarking.cost import costs
from m2diff.benchmarking.methods import STANDARD, TRUTH, Method
from m2diff.benchmarking.outcome import Outcome, Shown
from m2diff.benchmarking.page import USUAL
from m2diff.benchmarking.people import Sides
from m2diff.benchmarking.rows import Row, RowsFile
from m2diff.benchmarking.score import Task, score
from m2diff.benchmarking.table import Measured, tidy, write_tsv
from m2diff.benchmarking.training import Terms
from m2diff.errors import BadInput
from m2diff.io.bids import write_json
from m2diff.nn.precision import best_device
from m2diff.reporting.comparison import write


def benchmark(
    data: Path | str,
    out: Path | str,
    *,
    methods: Sequence[str] = method_texts.DEFAULT,
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
    """Compare ``methods`` on equal terms under ``out``; returns the path of the page.

    ``data``: the cohort that presets are trained on. ``test``: the cohort that is scored; without it, persons held out
    of ``data``. ``budget``: ``1500steps`` or ``20min`` for each preset. ``overrides``: as in ``train.lr=0.001``, for
    every preset alike. ``against``: the method that the others are compared with. ``drf``: doses to score, all by
    default. ``jobs``: processes that score, one thread each. BadInput, before anything is trained, for a method that
    nobody knows, terms that are not equal, a setting that nothing reads, and a person on both sides.
    """
    _check_numbers(jobs, seed)
    device = best_device(device)
    chosen = method_texts.parse(methods)
    reference = _reference(chosen, against)
    names = list(dict.fromkeys(method.source for method in chosen if method.kind == "preset"))
    spending = Budget.parse(budget)
    settings.check(overrides, presets=bool(names), test=test is not None)
    sides = _sides(Path(data), None if test is None else Path(test), drf, overrides)
    terms = Terms(Path(data), sides, spending, tuple(overrides), device, jobs, progress)
    training.check(names, terms)
    seen.check_beforehand(chosen, terms)
    runs = training.all_trained(names, Path(out), terms)
    entries = plan.entries(chosen, {name: run.weights for name, run in runs.items()})
    seen.check(entries, sides)
    shown = _shown(sides)
    tasks = plan.tasks(
        entries,
        sides,
        seed=seed,
        device=device,
        shown=(shown.subject.label, shown.doses),
        images=Path(out) / "images",
    )
    shown.images.update({(task.method.name, task.drf): task.image for task in tasks if task.image is not None})
    rows = _scored(tasks, sides, Path(out), jobs=jobs, device=device, progress=progress)
    spent = costs(entries, sides, Path(out), device=device, progress=progress)
    return _written(Outcome(Path(out), entries, sides, terms, runs, rows, spent, reference, shown, device))


def _check_numbers(jobs: int, seed: int) -> None:
    """Refuse what would fail after hours of training."""
    if jobs < 1:
        raise BadInput(f"--jobs is the number of processes, 1 or more, got {jobs}; correct it.")
    if seed < 0:
        raise BadInput(f"--seed must be 0 or more, got {seed}; correct it.")


def _reference(chosen: Sequence[Method], against: str | None) -> str:
    """The method that the others are compared with: as asked, or the first M2Diff, or the last."""
    names = [method.name for method in chosen]
    if against is not None and against not in names:
        raise BadInput(f"--against must be one of the methods ({', '.join(names)}), got {against}; correct it.")
    return against or next((name for name in names if name.startswith("m2diff")), names[-1])


def _sides(data: Path, test: Path | None, drf: Sequence[float], overrides: Sequence[str]) -> Sides:
    """Who is trained on and who is scored; who of one cohort is held out follows the overrides."""
    if test is not None:
        return people.sides(data, test, drf=drf)
    chosen = settings.hold_out(overrides)
    return people.sides(data, None, drf=drf, held_out=chosen.persons, fraction=chosen.fraction, seed=chosen.seed)


def _scored(tasks: list[Task], sides: Sides, out: Path, *, jobs: int, device: str, progress: bool) -> tuple[Row, ...]:
    """The rows of all tasks: those that are there, and those that are missing, made now."""
    kept = RowsFile(out / "rows.jsonl")
    missing = [task for task in tasks if task.id not in kept or (task.image is not None and not task.image.is_file())]
    failed = []
    for row in _made(missing, sides.root, jobs=jobs, device=device, progress=progress):
        if "failed" in row:
            failed.append(f"{row['method']}, {row['scan']}: {row['failed']}")
        elif row["id"] not in kept:
            kept.add({**row, "processes": jobs})  # its seconds depend on who else was at work
    if failed:
        raise BadInput(
            f"{len(failed)} of {len(missing)} images could not be scored (the others are): {' '.join(failed[:3])} "
            "Leave such methods out, or mend what they need."
        )
    return tuple(kept.rows[task.id] for task in tasks)


def _made(tasks: list[Task], root: Path, *, jobs: int, device: str, progress: bool) -> Iterator[Row]:
    """The rows as they are finished; this process alone writes them."""
    from joblib import Parallel, delayed
    from tqdm import tqdm

    work = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(
        delayed(score)(task, root, device) for task in tasks
    )
    yield from tqdm(work, total=len(tasks), desc="score", unit="image", disable=not (progress and tasks))


def _shown(sides: Sides) -> Shown:
    """The scan and the two doses of the pictures: a patient where there is one; a middle dose and the lowest."""
    there = [subject for subject in sides.test if set(sides.doses) & set(subject.low)]
    scan = next((subject for subject in there if subject.group == "ad"), there[0])
    doses = [drf for drf in sides.doses if drf in scan.low]
    middle = min(doses, key=lambda drf: abs(drf - USUAL))
    other = doses[-1] if doses[-1] != middle else doses[0]
    return Shown(scan, tuple(dict.fromkeys((middle, other))), {})


def _written(outcome: Outcome) -> Path:
    """All tables and the page."""
    out, doses = outcome.out, outcome.sides.doses
    measured = Measured(outcome.rows)
    whole = [*((name, drf) for name in outcome.names for drf in doses), (STANDARD, 1.0), (TRUTH, 1.0)]
    found = summary.all_compared(measured, outcome.names, doses, outcome.against)
    write_tsv(out / "table.tsv", tidy(measured, outcome.trained_on))
    write_tsv(out / "summary.tsv", summary.summary_lines(measured, whole))
    write_tsv(out / "comparisons.tsv", summary.comparison_lines(found))
    write_tsv(out / "regions.tsv", summary.region_lines(measured, whole))
    write_tsv(out / "separation.tsv", summary.separation_lines(measured, whole))
    write_json(out / "benchmark.json", about(outcome))
    return write(out / "index.html", page.page_of(outcome, measured, found))
