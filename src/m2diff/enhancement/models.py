"""The shipped weights, with their cards and numbers, and the filters; read without PyTorch, which is quick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Mri = Literal["not read", "optional", "needed"]

WITHOUT_MRI = frozenset({"mapdiff"})
"""Families that read no MRI; cards do not say so."""


@dataclass(frozen=True)
class FilterFacts:
    """What is known of a filter without its code."""

    about: str
    mri: Mri


FILTER_FACTS: Mapping[str, FilterFacts] = {
    "gaussian": FilterFacts("Convolution with a Gaussian of fwhm_mm, which every scanner offers.", "not read"),
    "nlm": FilterFacts("Non-local means (Buades 2005): an average over places with a similar surrounding.", "not read"),
    "bowsher": FilterFacts("The mean over the k voxels nearby whose MRI is most alike (Bowsher 2004).", "optional"),
    "mr-guided": FilterFacts("The guided filter (He, Sun and Tang 2013) in 3D, the MRI its guide.", "optional"),
}
"""The filters of ``families.filters``, in its order."""


@dataclass(frozen=True)
class Model:
    """One name that ``--weights`` takes; None where a filter has no such thing."""

    name: str
    kind: Literal["network", "filter"]
    family: str
    mri: Mri
    dose: bool
    """Whether the dose is read, or chooses a filter's parameters; it may always be unknown."""
    steps: int | None
    """Network calls of a draw, unless told otherwise."""
    parameters: int | None = None
    megabytes: float | None = None
    sha256: str | None = None
    about: str = ""
    """What a network was trained on, what a filter does."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """A network's card; a filter's parameters by dose."""

    @property
    def licence(self) -> str:
        """The weights' licence; filters have that of the code."""
        return str(self.card.get("licence", "not stated")) if self.kind == "network" else "Apache-2.0"

    @property
    def trained_steps(self) -> int:
        """Steps of the run and of those before it."""
        from m2diff.families import stored

        return stored.steps_of(self.card)

    def to_json(self) -> dict[str, Any]:
        """Everything, the card whole."""
        return {**asdict(self), "licence": self.licence, "trained_steps": self.trained_steps}


def models(name: str | Path | None = None) -> list[Model]:
    """All that ships, networks first; or the one of that name, file or run folder (BadInput where there is none)."""
    from m2diff.families import stored

    return [_described(each) for each in ((*stored.shipped(), *FILTER_FACTS) if name is None else (str(name),))]


def _described(name: str) -> Model:
    return _filter(name, FILTER_FACTS[name]) if name in FILTER_FACTS else _network(name)


def _filter(name: str, facts: FilterFacts) -> Model:
    from importlib import resources

    import yaml

    tuned = yaml.safe_load(resources.files("m2diff").joinpath("presets/filters.yaml").read_text(encoding="utf-8"))
    by_drf = {f"{drf:g}": parameters for drf, parameters in sorted(tuned.get(name, {}).items())}
    card = {"parameters_by_drf": by_drf}
    return Model(name, "filter", name, facts.mri, dose=True, steps=None, about=facts.about, card=card)


def _network(name: str) -> Model:
    from m2diff.families import stored
    from m2diff.io.hashes import sha256

    path = stored.find(name, also=tuple(FILTER_FACTS))
    card = stored.read_card(path)
    spec = card["model"]
    family, network = str(spec.get("family", "not stated")), _section(spec, "network")
    return Model(
        name=name,
        kind="network",
        family=family,
        mri=mri_of(family, network),
        dose=bool(network.get("dose", family != "m2diff")),
        steps=_section(spec, "sampling").get("steps", 1),
        parameters=_count(path),
        megabytes=round(path.stat().st_size / 1e6, 1),
        sha256=sha256(path),
        about=str(stored.training_of(card).get("data") or ""),
        card=card,
    )


def mri_of(family: str, network: Mapping[str, Any]) -> Mri:
    """Whether a network of that family and these settings reads an MRI, or can do without."""
    if family in WITHOUT_MRI:
        return "not read"
    # Only M2Diff may need one, and does by default.
    return "optional" if network.get("optional_mri", family != "m2diff") else "needed"


def _section(spec: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of the model's specification; empty where there is none."""
    found = spec.get(name)
    return found if isinstance(found, Mapping) else {}


def _count(path: Path) -> int:
    """Count of the numbers in a weights' file, from its header; BadInput where it is damaged."""
    from math import prod

    from safetensors import SafetensorError, safe_open

    from m2diff.errors import BadInput

    try:
        with safe_open(path, framework="numpy") as file:
            # Names with a colon are scales of packed numbers, not parameters.
            names = [key for key in file.keys() if ":" not in key]  # noqa: SIM118
            return sum(prod(file.get_slice(key).get_shape()) for key in names)
    except (SafetensorError, OSError) as trouble:
        raise BadInput(f"The weights {path} are cut off or damaged; copy them again.") from trouble
