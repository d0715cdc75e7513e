"""The report opens with what such a dose loses."""

import math

import numpy as np
import pytest
from scipy import ndimage

from m2diff.enhancement import cards, notes
from m2diff.enhancement.run import enhance
from m2diff.reporting.page import ReportInputs, report_html
from m2diff.volume import Volume


@pytest.mark.parametrize(
    ("drf", "begins"), [(4.0, ""), (49.0, ""), (50.0, "At DRF 50 "), (100.0, "At DRF 100 "), (math.nan, "The dose")]
)
def test_what_is_lost_is_said_from_drf_50_on_and_where_the_dose_is_not_known(drf, begins):
    said = notes.lost(cards.load_weights("m2diff-small"), drf)
    assert said.startswith(begins) and bool(said) == bool(begins)
    assert ("lesions" in said and "4.1 %" in said) == bool(begins) and ("--drf" in said) == math.isnan(drf)


def test_the_report_opens_with_it_once():
    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, 72)] * 3, indexing="ij"))
    brain = ndimage.gaussian_filter(((place**2).sum(0) < 0.8).astype(np.float32), 2.0)
    result = enhance(Volume(brain, np.diag([2.0, 2.0, 2.0, 1.0])), weights="gaussian", drf=100.0)
    assert result.warnings[0] == result.lost == result.settings["warnings"][0]
    page = report_html(ReportInputs.of(result, "scan"))
    text = page.partition("<main>")[2]
    assert text.count('<p class="what opening"') == 1 and "<li>At DRF 100" not in text
    assert text.index("At DRF 100") < (text + "Read this first").index("Read this first") < len(text + "R")
