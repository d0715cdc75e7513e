"""The page: complete in itself, escaped, whole or not at all; the pictures: one scale, right way round."""

import base64
import io
import re
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_to_output
from PIL import Image

from browser import seen
from m2diff.evaluation.study import MethodRow, evaluate
from m2diff.reporting.inputs import Cluster, Estimate, RegionEstimates
from m2diff.reporting.layers import Layer, Pictures, pictures
from m2diff.reporting.page import ReportInputs, flat, number_text, percent, report_html, write_page
from m2diff.reporting.paint import Scale, outlines, painted
from m2diff.reporting.planes import scene_of
from m2diff.reporting.readings import WORDS, verdict
from m2diff.volume import Volume

AFFINE = np.array([[3.0, 0, 0, -45], [0, 2.0, 0, -40], [0, 0, 4.0, -50], [0, 0, 0, 1]])
NAMES = {1: "Left <cortex>", 2: "Right cerebral white matter"}


def volume(data, affine=AFFINE) -> Volume:
    return Volume(np.asarray(data, dtype=np.float32), affine, "Bq/mL")


@pytest.fixture(scope="module")
def head():
    """(truth, labels): an ellipsoid that is a ball in millimetres' proportions 30 : 30 : 40, hot on the right."""
    x, y, z = np.meshgrid(*(np.arange(n) - n / 2 for n in (30, 40, 25)), indexing="ij")
    inside = ((3 * x / 33) ** 2 + (2 * y / 33) ** 2 + (4 * z / 44) ** 2) < 1
    labels = np.where(inside, np.where(x < 0, 1, 2), 0)
    return np.select([labels == 1, labels == 2], [4000.0, 9000.0], 0.0), labels


@pytest.fixture(scope="module")
def inputs(head) -> ReportInputs:
    truth, labels = head
    rng = np.random.default_rng(0)
    low, enhanced, reference = (volume(truth + rng.normal(0, sd, truth.shape)) for sd in (2000, 300, 400))
    found = evaluate(enhanced, reference, labels=volume(labels), truth=volume(truth), region_names=NAMES)
    plain = evaluate(low, reference, labels=volume(labels))
    return ReportInputs(
        title="Person 7 <DRF 20> & more",
        low=low,
        enhanced=enhanced,
        mri=volume(labels),
        reference=reference,
        evaluation=found,
        low_evaluation=plain,
        methods=(MethodRow.of("Low-dose input", plain), MethodRow.of("M2Diff", found, highlight=True)),
        settings={"inputs": {"PET": "a<script>alert(1)</script>.nii"}, "steps": 1, "dose": None, "seeds": [1, 2]},
        warnings=("The tracer <x> is new.",),
    )


@pytest.fixture(scope="module")
def page(inputs) -> str:
    return report_html(inputs)


@pytest.fixture(scope="module")
def full(inputs) -> ReportInputs:
    """With all that a scan may leave open."""
    places = (
        Cluster("left <precuneus>", (-15.0, 0.0, 10.0), 1.5, -18.0, -4.5),
        Cluster("right putamen", (15.0, 10.0, -12.0), 0.5, 24.0, 3.5),
    )
    regions = (
        RegionEstimates("B <cortex>", Estimate(4000, 3500, 4500, 0.9), Estimate(4200, 3900, 4400, 1.1), None, -4.9),
        RegionEstimates("A brain stem", whole=Estimate(9000, 8000, 10000, 2.0)),
    )
    spread = inputs.enhanced.with_data(np.where(inputs.mri.data > 0, 5.0, np.nan), "sd")
    limits = {"6 mm": spread.with_data(spread.data * 8, "6"), "12 mm": spread.with_data(spread.data * 2, "12")}
    return replace(
        inputs, uncertainty=spread, limits=limits, clusters=places, estimates=regions, hiding="Could < hide."
    )


def png(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGBA"))


def layer(shown: Pictures, key: str, title: str = "") -> Layer:
    every = (*shown.layers, *shown.differences, *shown.open)
    return next(one for one in every if one.key == key and title in one.title)


def test_the_page_needs_nothing_from_outside(page, full):
    for text in (page, report_html(full)):
        assert re.findall(r"https?:|//[a-z]+\.|<link|@import|src=\"(?!data:)|url\(", text) == []


def test_names_are_data_and_never_markup(page):
    assert "<script>alert" not in page
    assert "Person 7 &lt;DRF 20&gt; &amp; more" in page
    assert "Left &lt;cortex&gt;" in page
    assert "The tracer &lt;x&gt; is new." in page


def test_the_numbers_on_the_page_are_those_of_the_evaluation(page, inputs):
    found = inputs.evaluation
    assert f"{found.scores.psnr:.2f} dB" in page
    assert f"low dose: {inputs.low_evaluation.scores.psnr:.2f} dB" in page
    assert percent(found.regions.worst.bias_percent) in page
    for row in found.regions.rows:
        assert f"{row.mean:.5g}" in page
    assert "Not for diagnosis" in page


def test_the_best_of_every_column_is_marked_once(page):
    methods = page[page.index("Methods compared") : page.index("How it was made")]
    assert '<tr class="ours"><td>M2Diff</td>' in methods
    assert methods.count('class="best"') == 4  # PSNR, SSIM, NRMSE, bias
    assert "Low-dose input" in methods


def test_sections_without_content_are_left_out(inputs):
    bare = ReportInputs(title="t", low=inputs.low, enhanced=inputs.enhanced)
    page = report_html(bare)
    absent = ("Methods compared", "Recorded lesions", "How it was made", "Read this first", "Bias", "could hide")
    for heading in (*absent, "could be hiding", "Flagged", "left and right", "lies on the PET", "outlines on the MRI"):
        assert heading not in page
    assert "without an MRI" in page
    assert "no standard-dose scan to compare with" in page


def test_the_report_appears_whole_or_not_at_all(inputs, tmp_path, monkeypatch):
    path = write_page(tmp_path / "new" / "report.html", inputs)
    before = path.read_text(encoding="utf-8")
    assert before.rstrip().endswith("</html>")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", fail)
    with pytest.raises((OSError, ValueError)):
        write_page(path, replace(inputs, title="another"))
    monkeypatch.undo()
    assert path.read_text(encoding="utf-8") == before
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def turned(image: Volume, axes: str) -> Volume:
    """The same image as another scanner would store it."""
    old, new = nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes)
    stored = nib.Nifti1Image(image.data, image.affine).as_reoriented(nib.orientations.ornt_transform(old, new))
    return Volume(np.asarray(stored.dataobj), stored.affine, image.unit)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SAL", "PIR"])
def test_a_picture_does_not_depend_on_how_the_file_stores_the_image(head, axes):
    image = volume(head[0])
    scene, other = scene_of(image), scene_of(turned(image, axes))
    for plane in ("axial", "coronal", "sagittal"):
        np.testing.assert_allclose(other.cut(turned(image, axes), plane), scene.cut(image, plane), atol=1.0)


def test_pictures_are_to_scale_whatever_the_voxels(head):
    image = volume(head[0])
    scene = scene_of(image)
    for plane, (width, height) in {"axial": (66, 66), "coronal": (66, 88), "sagittal": (66, 88)}.items():
        shown = scene.cut(image, plane) > 2000  # pixels of 1 mm
        assert shown.any(axis=0).sum() == pytest.approx(width, abs=4)
        assert shown.any(axis=1).sum() == pytest.approx(height, abs=5)


def test_an_mri_on_its_own_grid_lies_over_the_pet(head):
    image = volume(head[0])
    fine = resample_to_output(nib.Nifti1Image(image.data, AFFINE), (1.5, 1.5, 1.5), order=1)
    mri = Volume(fine.get_fdata(dtype=np.float32), fine.affine)
    scene = scene_of(image)
    ours, theirs = scene.cut(image, "axial"), scene.cut(mri, "axial")
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99


def test_every_pet_shares_one_scale_and_a_difference_has_its_own(inputs):
    shown = pictures(replace(inputs, spread=inputs.enhanced))
    assert len({layer(shown, key).scale for key in ("low", "enhanced", "standard")}) == 1
    scene = scene_of(inputs.reference)
    for title, other in (("low dose", inputs.low), ("standard dose", inputs.reference)):
        scale = layer(shown, "difference", title).scale
        expected = np.percentile(np.abs(scene.in_head(inputs.enhanced) - scene.in_head(other)), 99.5)
        assert scale.low == -scale.high and scale.high == pytest.approx(expected, rel=0.05)
        assert scale.unit == "Bq/mL"


def test_the_points_of_a_head_are_its_voxels(head):
    found = np.sort(scene_of(volume(head[0])).in_head(volume(head[1])))
    assert (found > 0).mean() > 0.75 and np.isin(found, (0, 1, 2)).all()  # smoothing widens what is shown


def test_the_right_of_the_patient_is_on_the_left_of_the_picture(head):
    """Read off the PNG: inverted grey, so the hot side is black and the other one mid-grey."""
    for data, hot_is_left in ((head[0], True), (head[0][::-1], False)):
        shown = pictures(ReportInputs(title="t", low=volume(data), enhanced=volume(data)))
        for text in (layer(shown, "enhanced").pictures[0].png, shown.levels[3].pngs[1]):
            grey = png(text)[..., :3].mean(-1) / 255
            hot, warm = (np.median(np.nonzero(where)[1]) for where in (grey < 0.1, (grey > 0.45) & (grey < 0.65)))
            assert (hot < warm) == hot_is_left


def test_the_top_of_a_picture_is_up(head):
    bright_above = np.where(head[1] > 0, np.where(np.arange(25) > 12, 9000.0, 2000.0), 0.0)
    coronal = png(layer(pictures(ReportInputs(title="t", enhanced=volume(bright_above))), "enhanced").pictures[1].png)
    assert np.nonzero(coronal[..., 0] < 128)[0].mean() < 0.4 * len(coronal)


def test_an_outline_lies_where_a_picture_crosses_its_level():
    x, y = np.meshgrid(np.arange(80), np.arange(60))
    path = outlines((30 - np.hypot(x - 40, y - 25)).astype(np.float32), 10.0)  # a circle of 20 pixels
    points = np.array([[float(n) for n in point.split()] for point in path[1:].split("L")])
    middle = (40.5, 60 - 25 - 0.5)  # rows are stored from the bottom, and shown from the top
    np.testing.assert_allclose(np.hypot(*(points - middle).T), 20, atol=0.3)
    assert outlines(np.zeros((9, 9), np.float32), 1.0) == ""


def test_what_a_map_does_not_tell_is_transparent():
    scale = Scale("viridis", 0, 4, "%", hollow=True)
    found = png(painted(np.array([[np.nan, 0.0], [2.0, 9.0]], dtype=np.float32), scale))
    assert found[1, :, 3].tolist() == [0, 0] and found[0, :, 3].tolist() == [255, 255]
    assert len({tuple(pixel) for pixel in found[0]}) == 2
    assert png(scale.bar)[..., 3].min() == 255


def test_maps_of_limits_share_one_scale(full):
    shown = pictures(full)
    assert {each.scale.high for each in shown.open if each.key == "limit"} == {40.0}
    assert layer(shown, "uncertainty").scale.high == 5.0


def test_a_ring_lies_on_its_place_and_a_level_goes_through_it(full, head):
    """A hot spot between two levels, in a dim head, is what the ring surrounds."""
    scene = scene_of(full.reference)
    heights = -50 + 4.0 * np.arange(8, 18)
    height = max(heights, key=lambda z: np.abs(scene.levels(7) - scene.place((0, 0, z))[2]).min())
    place = (15.0, 10.0, height)
    at = np.moveaxis(np.indices(full.enhanced.shape), 0, -1) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    spot = np.where(np.linalg.norm(at - place, axis=-1) < 3.5, 50_000, np.where(head[1] > 0, 1000, 0))
    shown = pictures(replace(full, enhanced=volume(spot), clusters=[Cluster("here", place, 0.1, 24.0, 3.5)]))
    (level,) = (one for one in shown.levels if one.rings)
    (ring,) = level.rings
    dark = np.argwhere(png(level.pngs[1])[..., 0] < 60)
    y, x = (dark.mean(axis=0) + 0.5) * level.width / png(level.pngs[1]).shape[1]
    assert (x, y) == pytest.approx((ring.x, ring.y), abs=1.0) and (ring.number, ring.hot) == (1, True)


def test_every_flagged_place_has_its_ring(full):
    assert sorted(ring.number for level in pictures(full).levels for ring in level.rings) == [1, 2]


def test_flagged_places_and_regions_are_told_in_full(full):
    text = report_html(full)
    assert "<precuneus>" not in text and "<cortex>" not in text
    assert "left &lt;precuneus&gt;" in text and "B &lt;cortex&gt;" in text and "Could &lt; hide." in text
    assert "−18.0 %" in text and "−15, 0, 10" in text and "cold" in text
    assert "3\N{NARROW NO-BREAK SPACE}500 to 4\N{NARROW NO-BREAK SPACE}500" in text


def test_the_words_of_an_alignment_are_explained_and_are_no_settings(inputs):
    told = {"mri_to_pet_mm": [[1.0]], "overlap": 0.92, "explained": 0.36, "folds": 0.9, "handed": float("nan")}
    text = report_html(replace(inputs, evaluation=None, settings={"alignment": told}))
    assert "alignment · mri to pet mm" in text and "alignment · folds" not in text
    for name in ("overlap", "explained", "folds"):
        assert WORDS[name].meaning.split("'")[0] in text
    assert "handed" not in text[text.index("lies on the PET") :]
    assert '<b>0.90</b> <span class="mark look">look at it' in text


def test_an_alignment_is_read_by_the_limits_of_its_register():
    from m2diff.preparation import register

    assert [verdict("folds", value) for value in (1.5, 0.8, 0.5)] == ["good", "look at it", "does not fit"]
    for value in (0.8, 0.9, 1.1, 1.2):
        alignment = register.Alignment(np.eye(4), register.Quality(0.9, 0.3), 1.0, value)
        assert (verdict("handed", value) == "good") is not alignment.ambiguous


FLIP = """
    const visible = () => [...document.querySelectorAll(".layer")].filter(one => one.offsetParent);
    const shown = () => visible().map(one => one.classList[1]);
    const press = (on, key) => on.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
    const found = [shown()], radio = document.getElementById("show-enhanced");
    press(document.body, " "); found.push(shown());
    document.getElementById("flip").click(); found.push(shown());
    radio.focus(); press(radio, " "); found.push(shown());
    press(radio, " "); found.push(shown());
    document.getElementById("show-low").click(); found.push(shown());
    document.querySelector(".layers").click(); found.push(shown());
    const lines = document.querySelector(".mri svg"); const drawn = getComputedStyle(lines).display;
    document.getElementById("contours").click();
    const places = ["low", "mri"].map(name => {
        document.getElementById(`show-${name}`).click();
        const image = visible()[0].querySelector("img").getBoundingClientRect();
        return [image.x, image.y, image.width, image.height, document.body.offsetHeight];
    });
    return {found, stays: String(places[0]) === String(places[1]), drawn, then: getComputedStyle(lines).display};
"""


def test_pet_and_mri_flicker_in_one_place(page, tmp_path):
    seen_there = seen(page, FLIP, tmp_path)
    every = ["low", "enhanced", "standard", "mri"]
    steps = [every, every, ["enhanced"], ["mri"], ["enhanced"], ["low"], ["enhanced"]]
    assert seen_there == {"found": steps, "stays": True, "drawn": "block", "then": "none"}


def test_images_are_chosen_without_a_script_too(page, tmp_path):
    bare = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    script = FLIP.split("press(document.body")[0] + "radio.click(); found.push(shown()); return found;"
    assert seen(bare, script, tmp_path)[1] == ["enhanced"]


def test_a_page_is_never_wider_than_its_screen(full, tmp_path):
    width = "return [document.documentElement.scrollWidth, innerWidth];"
    for size in (500, 1400):
        wide, screen = seen(report_html(full), width, tmp_path, f"--window-size={size},900")
        assert wide <= screen


def test_regions_sort_by_click_and_keep_what_has_no_value_last(full, tmp_path):
    names = """
        const table = document.querySelector("#estimates table"), head = n => table.tHead.rows[0].cells[n];
        const order = n => { head(n).querySelector("button").click(); return [...table.tBodies[0].rows].map(
            row => row.cells[0].textContent[0]).join("") + head(n).getAttribute("aria-sort"); };
        return [order(0), order(0), order(2), order(3), order(3)];
    """
    found = seen(report_html(full), names, tmp_path)
    assert found == ["ABascending", "BAdescending", "ABdescending", "BAdescending", "BAascending"]


def test_numbers_and_settings_read_well():
    assert (number_text(float("inf"), 2), number_text(float("nan")), number_text(31.4159, 2)) == ("∞", "–", "31.42")
    assert (percent(-1.26), percent(None), percent(3, sign=False)) == ("−1.3 %", "–", "3.0 %")
    assert flat({"a": {"b": 1}, "c": None, "d": [1, 2]}) == [("a · b", "1"), ("c", "none"), ("d", "1, 2")]
    assert flat({"mri_to_pet": 1}) == [("mri to pet", "1")]
