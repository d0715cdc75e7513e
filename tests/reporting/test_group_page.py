"""The page of all scans: light enough for a thousand, escaped, sorted and filtered by click; its small pictures."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from browser import seen
from m2diff.reporting.group_page import ScanRow, group_html
from m2diff.reporting.thumbnail import thumbnail
from m2diff.volume import Volume


@pytest.fixture(scope="module")
def head() -> Volume:
    """A head of real size, hot on the right."""
    x, y, z = np.meshgrid(*(np.linspace(-110, 110, 110),) * 3, indexing="ij")
    inside = (x / 75) ** 2 + (y / 95) ** 2 + (z / 90) ** 2 < 1
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = -110
    return Volume((inside * np.where(x > 0, 9000, 4500)).astype(np.float32), affine, "Bq/mL")


@pytest.fixture(scope="module")
def noisy(head) -> Volume:
    noise = np.random.default_rng(0).normal(1, 0.4, head.shape)
    return head.with_data(head.data * noise, "noise")


def rows(number: int, picture: bytes = b"") -> list[ScanRow]:
    """Scans whose mean changed by 0, 1, 2 ... per cent; the third has no MRI, the last is marked."""
    made = [
        ScanRow(
            f"sub-{n:03d}", f"sub-{n:03d}", None, "m2diff-base", 20.0 if n else None, n != 2,
            {"folds": 1.0 + (7 * n % number) / number, "handed": 2.0} if n != 2 else {},
            1000.0, 1000.0 + 10 * n, "Bq/mL", report=f"sub-{n:03d}_report.html", thumbnail=picture,
        )
        for n in range(number)
    ]  # fmt: skip
    return [*made[:-1], replace(made[-1], marks=("Too <much>.",), warnings=("A <b> & c.",))]


def test_a_thousand_scans_stay_a_light_page(head, noisy):
    picture = thumbnail(head, noisy)
    text = group_html(rows(1000, picture), 5.0)
    assert len(text) < 15e6 and text.count("<img") == text.count('loading="lazy"') == 1000


def test_a_small_picture_shows_the_low_dose_beside_the_enhanced_scan(head, noisy):
    both, alone = (Image.open(io.BytesIO(thumbnail(*volumes))) for volumes in ((head, noisy), (head,)))
    assert both.mode == "L" and both.width == pytest.approx(2 * alone.width, abs=4)
    grey = np.asarray(both, dtype=float)[:-5]
    low, enhanced = (grey[:, n * grey.shape[1] // 4 : (n + 1) * grey.shape[1] // 4] for n in (0, 1))
    rough_low, rough = (np.abs(np.diff(each, axis=1)).mean() for each in (low, enhanced))
    assert rough_low > 2 * rough
    middle = enhanced[len(enhanced) // 2]
    dark, warm = np.nonzero(middle < 40)[0], np.nonzero((middle > 90) & (middle < 160))[0]
    assert dark.mean() < warm.mean()  # the patient's right on the left


def test_the_page_leads_only_to_its_reports_and_takes_names_as_data():
    evil = replace(rows(3)[0], name='sub-"><i>', report='a"b/<i>_report.html', participant="sub-x")
    text = group_html([*rows(3), evil], 5.0)
    assert re.findall(r"https?:|<link|@import|src=\"(?!data:)|url\(", text) == []
    assert "<i>" not in text and "Too &lt;much&gt;." in text and "A &lt;b&gt; &amp; c." in text
    assert set(re.findall(r'href="([^#"][^"]*)"', text)) == {
        *(f"sub-{n:03d}_report.html" for n in range(3)),
        "a%22b/%3Ci%3E_report.html",
    }


def test_a_scan_without_a_report_or_numbers_is_still_told_of():
    bare = replace(rows(2)[0], report=None, mean_input=0.0, drf=None, alignment={})
    text = group_html([bare], 5.0)
    assert "<td" in text and 'href="sub' not in text and "–" in text and "1 enhanced scan<" in text


ACT = """
    const table = document.getElementById("scans"), head = n => table.tHead.rows[0].cells[n].querySelector("button");
    const order = () => [...table.tBodies[0].rows].filter(row => !row.hidden).map(row => Number(row.id.slice(4)));
    const type = text => {
        const box = document.getElementById("words");
        box.value = text; box.dispatchEvent(new Event("input")); return order();
    };
    const found = {first: order(), button: head(1).tagName, tab: head(1).tabIndex};
    head(3).click(); found.change = order();
    head(3).click(); found.rising = order();
    head(5).click(); found.folds = order();
    found.words = type("sub-00 ALONE"); found.told = document.getElementById("told").textContent;
    found.all = type("").length;
    document.getElementById("only-marked").click(); found.marked = order();
    return found;
"""


def test_scans_sort_and_filter_by_click_and_word(tmp_path):
    found = seen(group_html(rows(6), 5.0), ACT, tmp_path)
    assert found["first"] == found["rising"] == [0, 1, 2, 3, 4, 5]
    assert found["change"] == [5, 4, 3, 2, 1, 0]
    assert found["folds"] == [5, 4, 3, 1, 0, 2]  # what has no value stays last
    assert (found["button"], found["tab"]) == ("BUTTON", 0)  # the keyboard's Tab and Enter reach it
    assert found["words"] == [2] and found["told"] == "1 of 6 scans" and found["all"] == 6
    assert found["marked"] == [5]


def test_the_page_fits_a_narrow_screen(tmp_path):
    width = "return [document.documentElement.scrollWidth, innerWidth];"
    wide, screen = seen(group_html(rows(6), 5.0), width, tmp_path, "--window-size=500,900")
    assert wide <= screen
