"""SUV from activity concentration.

    SUVbw = activity (Bq/mL) * body weight (g) / dose at the time that the image's decay correction refers to (Bq)

Follows the vendor-neutral pseudo-code of QIBA (Quantitative Imaging Biomarkers Alliance). Missing and impossible values
are listed; they block SUV, not enhancement.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydicom.dataset import Dataset

from m2diff.io.dicom.sidecar import LEAST_BQ, as_number, isotope, meaning, nuclide

KNOWN_UNITS = ("BQML", "CNTS", "GML")
HALF_LIFE_S = {"F18": 6586.2, "C11": 1223.4, "Ga68": 4057.7, "O15": 122.2, "N13": 597.9, "Cu64": 45723.6, "Rb82": 75.5,
               "Zr89": 282276.0, "I124": 360806.0}  # fmt: skip
PHILIPS_SUV = (0x7053, 0x1000)  # Philips: SUV of a stored count
PHILIPS_ACTIVITY = (0x7053, 0x1009)  # Philips: Bq/mL of a stored count

GE_CREATOR, GE_SCAN_START = "GEMS_PETD_01", 0x0D  # GE: date and time at which the scan began, in its private group 0009
PHILIPS_CREATOR = "Philips PET Private Group"
FIRST_YEAR = 1970  # earlier dates come from de-identification
LONGEST_WAIT, LEAST_S, UNKNOWN_S = 8, 3 * 3600.0, 24 * 3600.0
"""Longest plausible time from injection to scan: half-lives, but at least so many s; s where no half-life is known."""


@dataclass(frozen=True)
class Quantity:
    """What a PET header says about amounts. ``factor``: SUV of one unit of the image; None where unknown."""

    units: str
    decay_correction: str
    dose_bq: float | None
    weight_kg: float | None
    half_life_s: float | None
    wait_s: float | None
    """From injection to the time that the decay correction refers to; 0 where that is the injection."""
    factor: float | None
    problems: tuple[str, ...]


def quantity(header: Dataset) -> Quantity:
    """Dose, weight, times and SUV factor of a PET series, and every missing or impossible value."""
    problems: list[str] = []
    info = isotope(header)
    units = str(header.get("Units", "") or "")
    decay = str(header.get("DecayCorrection", "") or "")
    if not units:
        problems.append("Units is missing")
    elif units not in KNOWN_UNITS:
        problems.append(f"Units is {_word(units)}, from which no SUV follows")
    scaled = "RescaleSlope" in header or "PerFrameFunctionalGroupsSequence" in header
    if not scaled:
        problems.append("RescaleSlope is missing: the stored numbers are taken as they are")
    dose = _within(
        info, "RadionuclideTotalDose", LEAST_BQ, 1e11, "Bq", problems, hint="1e5 to 1e11; perhaps it is in MBq"
    )
    weight = _within(header, "PatientWeight", 1.0, 400.0, "kg", problems, hint="1 to 400")
    half_life = _half_life(info, problems)
    wait = _wait(header, info, decay, half_life, problems)
    factor = _factor(header, units, dose, weight, half_life, wait, problems) if scaled else None
    return Quantity(units, decay, dose, weight, half_life, wait, factor, tuple(problems))


def timing(header: Dataset) -> dict[str, Any]:
    """BIDS keys from which the SUV factor can be computed without the header: times of day, no date."""
    found: dict[str, Any] = {}
    weight = as_number(header.get("PatientWeight"))
    if weight is not None and 1.0 <= weight <= 400.0:
        found["BodyWeight"] = weight
    decay, scan = str(header.get("DecayCorrection", "") or ""), _scan_time(header)
    if scan is None:
        return found
    acquired = _dated(header, "Acquisition")
    late = 0.0 if acquired is None else max((acquired - scan).total_seconds(), 0.0)
    found |= {"TimeZero": scan.strftime("%H:%M:%S"), "ScanStart": 0.0, "FrameTimesStart": [late]}
    info = isotope(header)
    wait = _wait(header, info, "START", _half_life(info, []), [])
    if wait is not None:
        found["InjectionStart"] = -wait
    if decay == "START":
        found["ImageDecayCorrectionTime"] = 0.0
    elif decay == "ADMIN" and wait is not None:
        found["ImageDecayCorrectionTime"] = -wait
    return found


def _factor(
    header: Dataset,
    units: str,
    dose: float | None,
    weight: float | None,
    half_life: float | None,
    wait: float | None,
    problems: list[str],
) -> float | None:
    if units == "GML":
        kind = str(header.get("SUVType", "BW") or "BW")
        if kind != "BW":
            problems.append(f"the image is SUV by {_word(kind)}, not by body weight")
        return 1.0
    scale = 1.0
    if units == "CNTS":
        suv, activity = (_private(header, tag) for tag in (PHILIPS_SUV, PHILIPS_ACTIVITY))
        if suv:
            return suv
        if not activity:
            problems.append("Units is CNTS and the maker's private SUV factor is not there")
            return None
        scale = activity
    elif units != "BQML":
        return None
    if dose is None or weight is None or half_life is None or wait is None:
        return None
    return scale * weight * 1000.0 / (dose * 2.0 ** (-wait / half_life))


def _wait(header: Dataset, info: Dataset, decay: str, half_life: float | None, problems: list[str]) -> float | None:
    """Seconds from the injection to the time that the decay correction refers to."""
    if decay == "ADMIN":
        return 0.0
    if decay != "START":
        word = _word(decay) or "missing"
        problems.append(f"DecayCorrection is {word}: no time is known to which the activity refers")
        return None
    scan = _scan_time(header)
    if scan is None:
        problems.append("the scan's date or time is missing or impossible")
        return None
    injected = _datetime(str(info.get("RadiopharmaceuticalStartDateTime", "") or ""))
    if injected is None or injected.year < FIRST_YEAR:
        clock = str(info.get("RadiopharmaceuticalStartTime", "") or "")
        injected = _datetime(scan.strftime("%Y%m%d") + clock) if clock else None
    if injected is None:
        problems.append("the injection's time is missing or impossible")
        return None
    wait = (scan - injected).total_seconds()
    longest = UNKNOWN_S if half_life is None else max(LONGEST_WAIT * half_life, LEAST_S)
    overnight = wait + timedelta(days=1).total_seconds()
    if wait < 0 and injected.date() == scan.date() and overnight < longest:
        return overnight  # the clock passed midnight in between, or the scan's day was written for the injection's
    if not 0 <= wait < longest:
        hours = abs(wait) / 3600
        problems.append(f"the injection would lie {hours:.1f} h {'after' if wait < 0 else 'before'} the scan")
        return None
    return wait


def _scan_time(header: Dataset) -> datetime | None:
    """The series' start, or the acquisition's if the series is later; enhanced files state the time of correction."""
    corrected = _datetime(str(header.get("DecayCorrectionDateTime", "") or ""))
    if corrected is not None:
        return corrected
    series, acquired = _dated(header, "Series"), _dated(header, "Acquisition")
    if series is not None and acquired is not None and acquired < series:
        began = _in_block(header, 0x0009, GE_CREATOR, GE_SCAN_START)
        return _datetime(str(began or "")) or acquired
    return series or acquired


def _dated(header: Dataset, kind: str) -> datetime | None:
    return _datetime(f"{header.get(f'{kind}Date', '') or ''}{header.get(f'{kind}Time', '') or ''}")


def _in_block(header: Dataset, group: int, creator: str, element: int) -> Any:
    """The value of a private element in its maker's block; None where there is none."""
    try:
        return header.private_block(group, creator)[element].value
    except (KeyError, ValueError):
        return None


def _word(text: str) -> str:
    """A header's word made safe to print: at most 16 printable characters."""
    return "".join(c for c in text if c.isprintable())[:16]


def _datetime(text: str) -> datetime | None:
    """A DICOM date and time (YYYYMMDDHHMMSS, with or without a fraction and a zone)."""
    digits = text.split("+")[0].split("-")[0].replace(":", "").strip()
    whole, _, fraction = digits.partition(".")
    if len(whole) < 12 or not whole.isdecimal():
        return None
    try:
        moment = datetime.strptime(whole[:14].ljust(14, "0"), "%Y%m%d%H%M%S")
    except ValueError:
        return None
    micro = int(fraction[:6].ljust(6, "0")) if fraction.isdecimal() else 0
    return moment.replace(microsecond=micro)


def _half_life(info: Dataset, problems: list[str]) -> float | None:
    stated = as_number(info.get("RadionuclideHalfLife"))
    name = nuclide(meaning(info, "RadionuclideCodeSequence"))
    known = HALF_LIFE_S.get(name)
    if known is not None:
        if stated is not None and not 0.95 <= stated / known <= 1.05:  # minutes, hours, another nuclide
            problems.append(f"RadionuclideHalfLife is {stated:g} s, but {name} has {known:g} s, which is used")
        return known if stated is None or not 0.95 <= stated / known <= 1.05 else stated
    if stated is not None and 1.0 <= stated <= 1e9:
        return stated
    problems.append(f"RadionuclideHalfLife is {'missing' if stated is None else f'{stated:g} s'}")
    return None


def _within(
    where: Dataset, keyword: str, low: float, high: float, unit: str, problems: list[str], *, hint: str
) -> float | None:
    value = as_number(where.get(keyword))
    if value is None:
        problems.append(f"{keyword} is missing")
        return None
    if not low <= value <= high:
        problems.append(f"{keyword} is {value:g} {unit}, which is impossible (expected {hint})")
        return None
    return value


def _private(header: Dataset, tag: tuple[int, int]) -> float | None:
    element: Any = header.get(tag)
    found = _in_block(header, tag[0], PHILIPS_CREATOR, tag[1] & 0xFF)
    found = element.value if found is None and element is not None else found
    value = as_number(found.decode("ascii", "ignore").strip("\x00 ") if isinstance(found, bytes) else found)
    return value if value and value > 0 else None
