"""SUV factors by hand, and headers that lack or contradict what they need."""

from __future__ import annotations

import pytest

from dicom_files import pet_header
from m2diff.io.sidecar import without_phi
from m2diff.io.suv import HALF_LIFE_S, PHILIPS_ACTIVITY, PHILIPS_SUV, quantity, timing


def info(header):
    return header.RadiopharmaceuticalInformationSequence[0]


def test_bqml_with_decay_to_the_start_of_the_scan():
    # 250 MBq at 9:30, scan at 10:15: 2700 s of F-18.
    found = quantity(pet_header())
    assert found.factor == pytest.approx(70_000 / (250e6 * 2 ** (-2700 / 6586.2)))
    assert found.wait_s == 2700 and found.problems == ()


def test_decay_to_the_injection_needs_no_clock():
    header = pet_header()
    header.DecayCorrection = "ADMIN"
    assert quantity(header).factor == pytest.approx(70_000 / 250e6)


def test_an_injection_before_midnight():
    header = pet_header()
    header.SeriesTime = header.AcquisitionTime = "003000"
    info(header).RadiopharmaceuticalStartTime = "234500"
    assert quantity(header).wait_s == 2700


def test_a_date_with_the_injection_is_taken_at_its_word():
    header = pet_header()
    info(header).RadiopharmaceuticalStartDateTime = "20250312093000"
    found = quantity(header)
    assert found.factor is None and "48.8 h before" in found.problems[0]


def test_a_series_dated_after_its_acquisition_counts_from_the_acquisition():
    header = pet_header()
    header.SeriesTime = "180000"
    assert quantity(header).wait_s == 2700


@pytest.mark.parametrize(
    ("keyword", "value", "word"),
    [
        ("RadionuclideTotalDose", "250", "perhaps it is in MBq"),
        ("RadionuclideTotalDose", None, "RadionuclideTotalDose is missing"),
        ("RadiopharmaceuticalStartTime", None, "injection's time"),
        ("RadiopharmaceuticalStartTime", "", "injection's time"),
    ],
)
def test_what_is_missing_or_impossible_is_named_and_blocks_only_suv(keyword, value, word):
    header = pet_header()
    if value is None:
        delattr(info(header), keyword)
    else:
        setattr(info(header), keyword, value)
    found = quantity(header)
    assert found.factor is None
    assert any(word in problem for problem in found.problems)


def test_half_life_from_the_nuclide_where_the_number_is_missing():
    header = pet_header()
    info(header).RadionuclideHalfLife = None
    assert quantity(header).half_life_s == pytest.approx(6586.2)


def test_suv_images_and_philips_counts():
    header = pet_header()
    header.Units = "GML"
    assert quantity(header).factor == 1
    header.Units = "CNTS"
    found = quantity(header)
    assert found.factor is None and "private SUV factor" in found.problems[-1]
    header.add_new(PHILIPS_ACTIVITY, "DS", "2.0")
    assert quantity(header).factor == pytest.approx(2 * 70_000 / (250e6 * 2 ** (-2700 / 6586.2)))
    header.add_new(PHILIPS_SUV, "DS", "0.000516")
    assert quantity(header).factor == pytest.approx(0.000516)


def test_suv_by_lean_mass_or_surface_is_named():
    header = pet_header()
    header.Units = "GML"
    for kind, problems in (("BW", 0), ("LBM", 1)):
        header.SUVType = kind
        found = quantity(header)
        assert len(found.problems) == problems and all(kind in problem for problem in found.problems)


def test_patient_data_is_dropped_from_sidecars_and_the_scanner_stays():
    sidecar = {
        "PatientName": "x", "PatientID": "x", "PatientBirthDate": "x", "AcquisitionDateTime": "x", "StudyDate": "x",
        "AccessionNumber": "x", "InstitutionName": "x", "ReferringPhysicianName": "x", "SeriesInstanceUID": "x",
        "Deep": [{"OperatorsName": "x", "Kept": 1}],
        "PatientPosition": "HFS", "Units": "Bq/mL", "TracerName": "FDG", "Manufacturer": "m",
    }  # fmt: skip
    kept = {"PatientPosition", "Units", "TracerName", "Manufacturer", "Deep"}
    assert set(without_phi(sidecar)) == kept
    assert without_phi(sidecar)["Deep"] == [{"Kept": 1}]


@pytest.mark.parametrize(
    ("nuclide", "minutes"),
    [
        ("F18", 109.77), ("C11", 20.39), ("Ga68", 67.71), ("O15", 2.037), ("N13", 9.965), ("Cu64", 762.06),
        ("Rb82", 1.2575), ("Zr89", 78.41 * 60), ("I124", 4.176 * 1440),
    ],
)  # fmt: skip
def test_half_lives_are_those_of_the_tables_of_nuclides(nuclide, minutes):
    assert HALF_LIFE_S[nuclide] == pytest.approx(60 * minutes, rel=2e-3)


def test_a_half_life_in_minutes_is_named_and_the_nuclides_own_is_used():
    right, wrong = pet_header(), pet_header()
    wrong.RadiopharmaceuticalInformationSequence[0].RadionuclideHalfLife = "109.8"
    found = quantity(wrong)
    assert found.factor == pytest.approx(quantity(right).factor, rel=1e-3)
    assert any("109.8 s" in problem and "6586.2 s" in problem for problem in found.problems)


def test_ge_series_dated_later_and_philips_blocks_elsewhere():
    header = pet_header()
    header.SeriesTime, header.AcquisitionTime = "140000", "104500"
    without = quantity(header).wait_s
    header.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", f"{header.SeriesDate}101500.00")
    assert without - quantity(header).wait_s == pytest.approx(1800)
    philips = pet_header()
    philips.Units = "CNTS"
    philips.private_block(0x7053, "Somebody else", create=True).add_new(0x00, "DS", "7")
    philips.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "DS", "0.0005")
    assert quantity(philips).factor == pytest.approx(0.0005)


def test_a_dummy_date_does_not_hide_a_usable_time():
    header = pet_header()
    usual = quantity(header).wait_s
    info(header).RadiopharmaceuticalStartDateTime = "19000101000000"
    assert quantity(header).wait_s == usual


def test_slow_nuclides_may_wait_for_days():
    header = pet_header()
    info(header).RadiopharmaceuticalStartDateTime = "20250312101500"
    info(header).RadionuclideHalfLife = "282276"
    info(header).RadionuclideCodeSequence[0].CodeMeaning = "^89^Zirconium"
    found = quantity(header)
    assert found.wait_s == 2 * 86400 and found.problems == ()


def test_an_injection_that_bears_the_scans_day_was_the_evening_before():
    header = pet_header()
    header.SeriesTime = header.AcquisitionTime = "003000"
    info(header).RadiopharmaceuticalStartDateTime = "20250314234500"
    assert quantity(header).wait_s == 2700


def test_an_injection_after_the_scan_is_no_injection_of_the_day_before():
    header = pet_header()
    info(header).RadiopharmaceuticalStartTime = "111500"
    found = quantity(header)
    assert found.factor is None and "1.0 h after the scan" in found.problems[0]


def test_an_injection_dated_the_day_after_the_scan_is_none():
    header = pet_header()
    header.SeriesTime = header.AcquisitionTime = "200000"
    info(header).RadiopharmaceuticalStartDateTime = "20250315100000"
    found = quantity(header)
    assert found.factor is None and "14.0 h after the scan" in found.problems[0]


def test_a_nuclide_that_decays_in_minutes_may_still_be_named_an_hour_before_the_scan():
    header = pet_header()
    info(header).RadionuclideHalfLife = "122.2"
    info(header).RadionuclideCodeSequence[0].CodeMeaning = "^15^Oxygen"
    assert quantity(header).wait_s == 2700


@pytest.mark.parametrize(("weight", "dose", "word"), [("500", "250e6", "PatientWeight"), ("70", "2e11", "TotalDose")])
def test_amounts_that_no_scan_has_are_named(weight, dose, word):
    header = pet_header()
    header.PatientWeight, info(header).RadionuclideTotalDose = weight, dose
    found = quantity(header)
    assert found.factor is None and len(found.problems) == 1
    assert word in found.problems[0] and "impossible" in found.problems[0]


def test_numbers_without_their_scale_have_no_suv():
    header = pet_header()
    del header.RescaleSlope
    found = quantity(header)
    assert found.factor is None and "RescaleSlope is missing" in found.problems[0]


def test_the_moment_that_an_enhanced_file_is_corrected_to_is_taken():
    header = pet_header()
    header.DecayCorrectionDateTime = f"{header.SeriesDate}101600"
    assert quantity(header).wait_s == 2760


@pytest.mark.parametrize(
    ("text", "wait_s"), [("20250314", 2100), ("20250314093000.000000+0100", 2700), ("20250314093000-0500", 2700)]
)
def test_a_date_without_a_time_is_none_and_a_zone_is_left_out(text, wait_s):
    header = pet_header()
    info(header).RadiopharmaceuticalStartDateTime, info(header).RadiopharmaceuticalStartTime = text, "094000"
    assert quantity(header).wait_s == wait_s


def test_a_private_factor_below_zero_is_none():
    header = pet_header()
    header.Units = "CNTS"
    header.add_new(PHILIPS_SUV, "DS", "-1")
    assert quantity(header).factor is None


@pytest.mark.parametrize("decay", ["START", "ADMIN"])
def test_the_suv_factor_is_found_again_from_what_the_sidecar_keeps(decay):
    """By BIDS's own words: seconds from TimeZero, of the injection and of the moment that the activity refers to."""
    header = pet_header()
    header.DecayCorrection = decay
    kept = timing(header)
    waited = kept["ImageDecayCorrectionTime"] - kept["InjectionStart"]
    factor = kept["BodyWeight"] * 1000 / (250e6 * 2 ** (-waited / HALF_LIFE_S["F18"]))
    assert factor == pytest.approx(quantity(header).factor)
    assert (kept["TimeZero"], kept["ScanStart"], kept["InjectionStart"]) == ("10:15:00", 0.0, -2700.0)


def test_the_sidecar_keeps_how_late_a_frame_began_and_no_weight_that_nobody_has():
    header = pet_header()
    header.AcquisitionTime, header.PatientWeight = "104500", "0"
    kept = timing(header)
    assert kept["FrameTimesStart"] == [1800.0] and "BodyWeight" not in kept
