"""The page: complete in itself, escaped, whole or not at all; the pictures: one scale, right way round."""

import base64
import io
import re
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_to_output

from m2diff.evaluation.regions import table
from m2diff.evaluation.study import MethodRow, evaluate
from m2diff.reporting import figures
from m2diff.reporting.figures import ShownVolumes
from m2diff.reporting.page import ReportInputs, flat, number_text, percent, report_html, write_page
from m2diff.reporting.planes import scene_of
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


def test_the_page_needs_nothing_from_outside(page):
    assert re.findall(r"https?:|//[a-z]+\.|<link|@import|src=\"(?!data:)|url\(", page) == []
    assert page.count("data:image/png;base64,") == 2


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
    methods = page[page.index("Methods compared") : page.index("<h2>Regions")]
    assert '<tr class="ours"><td>M2Diff</td>' in methods
    assert methods.count('class="best"') == 4  # PSNR, SSIM, NRMSE, bias
    assert "Low-dose input" in methods


def test_sections_without_content_are_left_out(inputs, head):
    regions = table(inputs.enhanced.data, head[1], voxel_size=inputs.enhanced.voxel_size, names=NAMES)
    bare = ReportInputs(title="t", low=inputs.low, enhanced=inputs.enhanced, regions=regions)
    page = report_html(bare)
    for heading in ("Methods compared", "Recorded lesions", "How it was made", "Read this first", "Bias"):
        assert heading not in page
    assert "Regions" in page
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


def test_every_pet_shares_one_scale_and_the_difference_is_symmetric(inputs):
    shown = ShownVolumes(inputs.low, inputs.enhanced, inputs.mri, inputs.reference, spread=inputs.enhanced)
    columns = {column.title: column for column in figures._columns(shown, scene_of(inputs.reference))}
    ranges = {(columns[f"{name} PET"].low, columns[f"{name} PET"].high) for name in ("Low-dose", "Enhanced")}
    assert ranges == {(columns["Standard-dose PET"].low, columns["Standard-dose PET"].high)}
    difference = columns["Enhanced − standard"]
    assert difference.low == -difference.high
    assert len(columns) == 6


def test_the_right_of_the_patient_is_on_the_left_of_the_picture(head):
    """Read off the rendered PNG: inverted grey, so the hot side is black and the other one mid-grey."""
    from matplotlib.image import imread

    for data, hot_is_left in ((head[0], True), (head[0][::-1], False)):
        png = figures.axial_levels(ShownVolumes(volume(data), volume(data)), number=1)
        grey = imread(io.BytesIO(base64.b64decode(png)))[..., :3].mean(-1)
        hot, warm = (np.median(np.nonzero(where)[1]) for where in (grey < 0.1, (grey > 0.45) & (grey < 0.65)))
        assert (hot < warm) == hot_is_left


def test_numbers_and_settings_read_well():
    assert (number_text(float("inf"), 2), number_text(float("nan")), number_text(31.4159, 2)) == ("∞", "–", "31.42")
    assert (percent(-1.26), percent(None), percent(3, sign=False)) == ("−1.3 %", "–", "3.0 %")
    assert flat({"a": {"b": 1}, "c": None, "d": [1, 2]}) == [("a · b", "1"), ("c", "none"), ("d", "1, 2")]
