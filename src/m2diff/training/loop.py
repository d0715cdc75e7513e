"""The training loop: one forward pass a step, and a run that may be stopped anywhere.

    OUT/preset.yaml            the resolved configuration
    OUT/checkpoints/           the last two states
    OUT/logs/                  TensorBoard scalars
    OUT/best.safetensors       averaged weights of the best validation, and best.json, their card
    OUT/weights.safetensors    averaged weights at the end, and card.json

The same command resumes. All random numbers of step k (slabs, noise, dropout) come from (seed, k, rank), so ten steps
and ten more equal twenty, bit for bit. torchrun starts the same call on many GPUs.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from m2diff.batch import Batch, Conditions
from m2diff.data.cohort import PreparedSubject
from m2diff.data.dataset import PlanDataset, SlabDataset, StepSampler, collate
from m2diff.data.resident import ResidentCohort, fits
from m2diff.data.splits import Split
from m2diff.errors import BadInput, Notice
from m2diff.families import build, resolve, stored
from m2diff.io.atomic import replacing
from m2diff.nn.precision import Precision, autocast, best_device, channels_last
from m2diff.training import checkpoint as checkpoints
from m2diff.training.checkpoint import Checkpoint
from m2diff.training.config import UNBOUNDED, Preset, load_preset
from m2diff.training.export import Provenance, Training, export, load_start, model_card
from m2diff.training.journal import Journal, Means, summary_writer
from m2diff.training.precision_check import wrong_gradient
from m2diff.training.scans import aimed, split_of, tracers
from m2diff.training.schedule import learning_rate
from m2diff.training.stop import StopRequest, stop_requests
from m2diff.training.validate import calls_of, validate


def train(
    preset: Preset | Path | str,
    data: Path | str,
    out: Path | str,
    *,
    resume: bool = True,
    limit_minutes: float | None = None,
    device: str = "auto",
    jobs: int = 1,
    progress: bool = True,
    provenance: Provenance | None = None,
    start: Path | str | None = None,
) -> Path:
    """Train ``preset`` (itself, a name or a .yaml file) on the cohort ``data`` into ``out``; returns the weights' path.

    ``data``: a BIDS cohort (prepared once, by ``jobs`` processes, under its derivatives) or such a cache. Without
    noise-free images the target is the standard scan (``scans.aimed``). A run in ``out`` is resumed unless ``resume``
    is False. At ``limit_minutes``, SIGTERM or SIGINT it stops after the step with a checkpoint; the limit
    also leaves weights, a signal ends the process. ``start``: weights to begin from, by name or path, where nothing is
    resumed. ``device``: ``auto``, ``cpu`` or ``cuda``. ``provenance``: the card's licence, data and tracers. Settings
    that cannot be trained raise BadInput before the cohort is prepared.
    """
    if jobs == 0:
        raise BadInput("--jobs expects the number of processes that prepare the cohort, or -1 for all cores, got 0.")
    preset = preset if isinstance(preset, Preset) else load_preset(preset)
    resolve(preset.model)
    origin = None if start is None else stored.find(start)
    accelerator = _accelerator(device)
    summary_writer()
    split = split_of(preset, data, accelerator, jobs=jobs, progress=progress)
    preset = aimed(preset, (*split.train, *split.valid))
    about = provenance or Provenance()
    if about.tracers is None:
        about = replace(about, tracers=tracers(data))
    run = Run(preset, Path(out), accelerator, split, about, progress=progress)
    if not run.restore(resume) and origin is not None:
        run.begin(origin)
    with stop_requests(limit_minutes) as request:
        run.steps(request)
    if request.signal is not None:
        raise SystemExit(128 + request.signal)
    return run.finish()


Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]
NAMED = ("sha256", "name", "licence", "tracers")
"""What a card says of the weights that its run began from."""


class Run:
    """One run: its network, averaged copy, optimiser and state."""

    def __init__(
        self,
        preset: Preset,
        out: Path,
        accelerator: Any,
        split: Split[PreparedSubject],
        provenance: Provenance,
        *,
        progress: bool,
    ) -> None:
        self.preset, self.config, self.out, self.accelerator = preset, preset.train, out, accelerator
        self.split, self.provenance, self.progress = split, provenance, progress
        if self.config.threads:
            torch.set_num_threads(self.config.threads)
        torch.manual_seed(self.config.seed)
        self.spec = resolve(preset.model)
        self.model: nn.Module = build(preset.model).to(accelerator.device)
        self.model = channels_last(self.model)
        self._check_crop()
        self.calls = calls_of(self.model, self.config.validate_steps)
        self.averaged = AveragedModel(self.model, multi_avg_fn=averaging(self.config.ema_decay))
        self.averaged.eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=self.config.lr,
            betas=self.config.betas,
            weight_decay=self.config.weight_decay,
            fused=accelerator.device.type in ("cpu", "cuda"),
        )
        self.loss = accelerator.prepare_model(_Loss(self.model))
        self.precision: Precision = self.config.precision
        self.step = 0
        self.best = float("-inf")
        self.results: dict[str, Any] = {}
        self.means = Means()
        self.origin: dict[str, Any] | None = None

    def restore(self, resume: bool) -> bool:
        """Resume the newest readable checkpoint (True), or start afresh; the resolved preset is saved."""
        found = checkpoints.load_latest(self._checkpoints) if resume else None
        if found is not None:
            self._load(found)
        if self.accelerator.is_main_process:
            self.out.mkdir(parents=True, exist_ok=True)
            if found is None:
                checkpoints.clear(self._checkpoints)
            with replacing(self.out / "preset.yaml") as temporary:
                Path(temporary).write_text(self.preset.to_yaml())
        return found is not None

    def begin(self, weights: Path) -> None:
        """Start from the weights of another run; the card will say which."""
        self.origin = load_start(weights, self.model)
        self.averaged.module.load_state_dict(self.model.state_dict())

    def steps(self, request: StopRequest) -> None:
        """Train until the last step, or until ``request`` is due; either way with a checkpoint."""
        config, first = self.config, self.step
        journal = Journal(
            self.out / "logs",
            self.preset.name,
            first=first,
            steps=None if config.steps >= UNBOUNDED else config.steps,
            progress=self.progress,
            main=self.accelerator.is_main_process,
        )
        torch.backends.cudnn.benchmark = True  # every step has the same shapes
        for batch in self._batches():
            if self.step == first:
                self._check_precision(batch)
            self.means.add(self._one(batch))
            self.step += 1
            journal.step()
            stop, end = self._agreed(request.due), self.step == config.steps
            save = stop or end or self.step % config.checkpoint_every == 0
            score = end or (not stop and self.step % config.validate_every == 0)
            if save or score or self.step % config.log_every == 0:
                self._report(journal)
            if score:
                self._validate(journal)
            if save:
                self._save()
            if stop:
                break
        journal.close()

    def finish(self) -> Path:
        """Export the averaged weights and their card."""
        if self.accelerator.is_main_process:
            export(self.averaged.module, self._card(), self.out)
        self.accelerator.wait_for_everyone()
        return self.out / "weights.safetensors"

    def _batches(self) -> Iterator[Batch]:
        """Batches of the steps that are left, for one process."""
        from torch.utils.data import DataLoader

        data, config, needs = self.preset.data, self.config, self._needs
        dataset = SlabDataset(
            self.split.train,
            slices=needs.slices,
            crop=data.crop,
            augmentation=data.augmentation,
            target=data.target,
            classes=needs.classes,
            anchors=needs.anchors,
            mri=needs.mri,
            seed=config.seed,
            batch=data.batch,
        )
        sampler = StepSampler(
            self.step,
            config.steps,
            batch=data.batch,
            rank=self.accelerator.process_index,
            ranks=self.accelerator.num_processes,
        )
        device = self.accelerator.device
        if config.resident if config.resident is not None else fits(dataset, device):
            cohort = ResidentCohort(dataset, device)
            workers = config.workers if config.workers is not None else 2 * (device.type == "cuda")
            plans = DataLoader(PlanDataset(dataset), batch_sampler=sampler, num_workers=workers, collate_fn=list)
            return map(cohort.batch, plans)
        workers = config.workers if config.workers is not None else 8 * (device.type == "cuda")
        return iter(DataLoader(dataset, batch_sampler=sampler, num_workers=workers, collate_fn=collate))

    def _check_precision(self, batch: Batch) -> None:
        """Switch to float32 where bfloat16 gradients of this network are wrong on this CPU."""
        wrong = wrong_gradient(self.model, _on(batch, self.accelerator.device), self.precision)
        if wrong is not None:
            sentence = (
                f"bfloat16 gradients of this network are wrong on this CPU (most at {wrong}), so training computes in "
                "float32, which may take longer."
            )
            warnings.warn(sentence, Notice, stacklevel=3)
        if self._agreed(wrong is not None):
            self.precision = "fp32"

    def _one(self, batch: Batch) -> dict[str, Tensor]:
        """One optimiser step; returns its loss terms."""
        device, rank = self.accelerator.device, self.accelerator.process_index
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.config)
        seed = _seed(self.config.seed, self.step, rank)
        torch.manual_seed(seed)  # for what layers draw by themselves: dropout
        generator = torch.Generator(device).manual_seed(seed)

        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        terms = self.loss(_on(batch, device), generator, self.precision)
        self.accelerator.backward(terms["loss"])
        if self.config.grad_clip is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        self.optimizer.step()
        self.averaged.update_parameters(self.model)
        return terms

    def _agreed(self, stop: bool) -> bool:
        """True on every process once one wants to stop, so that none waits for another."""
        if self.accelerator.num_processes == 1:
            return stop
        return bool(self.accelerator.reduce(torch.tensor(float(stop), device=self.accelerator.device)) > 0)

    def _report(self, journal: Journal) -> None:
        """Log the losses since the last time; one that is not finite ends the run before it can be saved."""
        means = self.means.read()
        if not np.isfinite(means["loss"]):
            raise BadInput(
                f"the loss became {means['loss']} by step {self.step}, which no further step can mend; lower train.lr "
                "and run the same command again: it goes on from the last checkpoint."
            )
        slabs = self.preset.data.batch * self.accelerator.num_processes
        journal.losses(self.step, means, lr=self.optimizer.param_groups[0]["lr"], slabs_a_step=slabs)

    def _validate(self, journal: Journal) -> None:
        """Score the averaged weights on held-out scans and keep them where they are the best so far."""
        scans = self.split.valid[: self.config.validate_scans]
        if scans and self.accelerator.is_main_process:
            with _shapes_vary():
                device, precision = self.accelerator.device, self.precision
                result = validate(self.averaged.module, scans, device=device, precision=precision, calls=self.calls)
            self.results = {"step": self.step, **result.to_card()}
            journal.validation(self.step, result)
            if result.gain > self.best:
                self.best = result.gain
                export(self.averaged.module, self._card(), self.out, weights="best.safetensors", name="best.json")
        self.accelerator.wait_for_everyone()

    @property
    def _checkpoints(self) -> Path:
        return self.out / "checkpoints"

    @property
    def _needs(self) -> Any:
        return self.model.needs

    def _check_crop(self) -> None:
        multiple, crop = self._needs.multiple, self.preset.data.crop
        if any(size % multiple for size in crop):
            raise BadInput(f"data.crop must divide by {multiple} for {self.preset.name}, got {list(crop)}; change it.")

    def _save(self) -> None:
        if not self.accelerator.is_main_process:
            return
        state = Checkpoint(
            step=self.step,
            model=self.model.state_dict(),
            averaged=self.averaged.state_dict(),
            optimizer=self.optimizer.state_dict(),
            best=self.best,
            results=self.results,
            origin=self.origin,
            spec=json.dumps(self.spec),
        )
        checkpoints.save_checkpoint(state, self._checkpoints)

    def _load(self, state: Checkpoint) -> None:
        if resolve(json.loads(state.spec)) != self.spec:  # settings newer than the run count as unset
            raise BadInput(
                f"{self.out} holds a run of another model than preset {self.preset.name}; choose another output "
                "folder (--out), or remove that one."
            )
        self.model.load_state_dict(state.model)
        self.averaged.load_state_dict(state.averaged)
        self.optimizer.load_state_dict(state.optimizer)
        self.step, self.results, self.origin = state.step, state.results, state.origin
        if state.results.get("calls", 1) == self.calls:  # a score by other calls is no measure for the next
            self.best = state.best

    def _card(self) -> dict[str, Any]:
        origin, persons = self.origin, {subject.person for subject in self.split.train}
        earlier = [] if origin is None else origin["seen_persons"]
        training = Training(
            train_scans=len(self.split.train),
            train_persons=sorted(persons),
            seen_persons=None if earlier is None else sorted({*persons, *earlier}),
            held_out_persons=sorted({subject.person for subject in self.split.valid}),
            steps=self.step,
            batch=self.preset.data.batch * self.accelerator.num_processes,
            steps_before=0 if origin is None else origin["steps"],
            began_from=None if origin is None else {key: origin[key] for key in NAMED},
        )
        return model_card(self.preset, self.spec, self.provenance, training, self.results)


def averaging(decay: float) -> Callable[[Tensors, Tensors, Tensor | int], None]:
    """Moving average for ``AveragedModel``: decay_k = min(decay, (1 + k) / (10 + k)), which soon forgets the start."""

    @torch.no_grad()
    def update(averaged: Tensors, weights: Tensors, k: Tensor | int) -> None:
        torch._foreach_lerp_(averaged, weights, 1.0 - min(decay, (1 + int(k)) / (10 + int(k))))

    return update


class _Loss(nn.Module):
    """The model's loss as a forward pass, which data-parallel wrappers need."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, generator: torch.Generator, precision: Precision) -> dict[str, Tensor]:
        """The total under ``loss``, and each term under its name."""
        with autocast(batch.target.device, precision):
            losses = self.model.loss(batch, generator=generator)  # type: ignore[operator]
        terms = {name: value.detach() for name, value in losses.terms.items()}
        return {**terms, "loss": losses.total}


def _accelerator(device: str) -> Any:
    """Devices and processes; one accelerator serves a whole run."""
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
    except ImportError:
        raise BadInput("training needs accelerate, which is not installed; pip install 'm2diff[train]'.") from None
    kind, best = best_device(device).removesuffix(":0"), best_device()
    if kind not in ("cpu", best):
        raise BadInput(
            f"training runs on cpu or on the best device of the machine ({best}), got {device!r}; leave --device out, "
            "and choose among several GPUs with CUDA_VISIBLE_DEVICES."
        )
    # A step without the MRI leaves that branch without a gradient.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    # The first process prepares the cohort while the others wait for it.
    patient = InitProcessGroupKwargs(timeout=timedelta(hours=12))
    return Accelerator(cpu=kind == "cpu", kwargs_handlers=[unused, patient])


@contextmanager
def _shapes_vary() -> Iterator[None]:
    """No search for each shape's fastest convolution: every held-out scan has its own shape."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _seed(seed: int, step: int, rank: int) -> int:
    """The seed of one process at one step."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0])


def _on(batch: Batch, device: torch.device) -> Batch:
    """The batch on ``device``, channels last, the fastest for convolutions."""

    def move(x: Tensor) -> Tensor:
        return x.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)

    given = batch.conditions
    mri = None if given.mri is None else move(given.mri)
    drf = None if given.drf is None else given.drf.to(device)
    classes = None if batch.classes is None else batch.classes.to(device, non_blocking=True)
    anchors = None if batch.anchors is None else batch.anchors.to(device)
    return Batch(Conditions(move(given.low), mri, drf), move(batch.target), classes, anchors)
