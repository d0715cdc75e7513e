"""The page of a comparison: complete in itself, escaped, and its pictures of one scale and the same slices."""

import base64
import io
import re

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from m2diff.reporting import curves as curves_module
from m2diff.reporting.comparison import (
    ComparisonPage,
    PagePicture,
    PageTable,
    Section,
    TableCell,
    TableLine,
    comparison_html,
    write_comparison,
)
from m2diff.reporting.curves import Curve, Panel, against_dose
from m2diff.reporting.page import KeyNumber
from m2diff.reporting.strips import side_by_side
from m2diff.volume import Volume

AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])


def picture(png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"))


@pytest.fixture(scope="module")
def truth() -> Volume:
    at = np.stack(np.meshgrid(*(np.linspace(-1, 1, 30),) * 3, indexing="ij"))
    return Volume(np.where((at**2).sum(axis=0) < 0.6, 5000, 0).astype(np.float32), AFFINE, "Bq/mL")


def page() -> ComparisonPage:
    cells = (TableCell("30.1", ("29 to 31", "p 0.5"), 30.1, "best"), TableCell("–"))
    grid = PageTable("DRF 20", ("method", "PSNR", "x<y"), (TableLine("m2diff <b>", cells, "ours"),))
    png = against_dose([Panel("PSNR", (Curve("a", ((20.0, 1.0, 0.5, 1.5),)),))])
    section = Section("Quality & more", "Means.", (grid,), (PagePicture("Curves", png, "All."),), "A <note>.")
    return ComparisonPage(
        "Two <methods>", "What.", ("Simulated.",), (KeyNumber("Budget", "5 steps"),), (section,), {"jobs": 1}
    )


def test_the_page_needs_nothing_from_outside_and_takes_names_as_data(tmp_path):
    text = comparison_html(page())
    assert re.findall(r"https?:|//[a-z]+\.|<link|@import|src=\"(?!data:)|url\(", text) == []
    assert "Two &lt;methods&gt;" in text and "m2diff &lt;b&gt;" in text and "A &lt;note&gt;." in text
    assert write_comparison(tmp_path / "index.html", page()).read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_every_number_has_its_interval_and_the_value_that_sorts_it():
    text = comparison_html(page())
    assert '<td class="best" data-value="30.1">30.1<small>29 to 31</small><small>p 0.5</small></td>' in text
    assert "addEventListener" in text and 'class="sortable"' in text


def test_equal_images_look_equal_and_have_no_error(truth):
    png = picture(side_by_side({"truth": truth, "same": truth}, truth))
    height, width, _ = png.shape
    right = png[:, int(0.62 * width) :]
    coloured = np.ptp(right.astype(int), axis=2) > 12
    assert not coloured.any()
    wrong = truth.with_data(np.where(truth.data > 0, 6000, 0), "too bright")
    right = picture(side_by_side({"truth": truth, "bright": wrong}, truth))[:, int(0.62 * width) :].astype(int)
    red = (right[..., 0] - right[..., 2]) > 60
    assert red[height // 2 :].any() and not red[: height // 2 - 20].any()


def test_curves_of_many_methods_have_a_place_for_each():
    points = tuple((drf, 30 - drf / 10, 29 - drf / 10, 31 - drf / 10) for drf in (4.0, 20.0, 100.0))
    curves = tuple(Curve(f"method {n}", points, n == 3) for n in range(14))
    png = picture(against_dose([Panel("PSNR", curves, (("truth", 31.0),)), Panel("gain", curves)], untrained=[100.0]))
    assert png.shape[1] > png.shape[0] > 300


def test_no_two_of_many_methods_look_alike(monkeypatch):
    drawn = []
    monkeypatch.setattr(curves_module, "as_png", lambda figure: drawn.append(figure) or "")
    points = ((4.0, 30.0, 29.0, 31.0), (20.0, 28.0, 27.0, 29.0))
    against_dose([Panel("PSNR", tuple(Curve(f"method {n}", points) for n in range(30)))])
    lines = [container.lines[0] for container in drawn[0].axes[0].containers]
    assert len(lines) == len({(to_hex(line.get_color()), line.get_marker()) for line in lines}) == 30
