"""What the border lets in, what it refuses, and that writing loses nothing."""

import gzip
import json

import nibabel as nib
import numpy as np
import pytest

from m2diff.errors import BadInput
from m2diff.io import atomic, nifti
from m2diff.volume import Volume

AFFINE = np.array([[-2.0, 0, 0, 30], [0, 2.5, 0, -40], [0, 0, 3, -20], [0, 0, 0, 1]])


def image(seed=0, shape=(18, 20, 17)):
    data = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    data[3, 4, 5] = 1000
    return data


def put(path, data, affine=AFFINE, dtype=None, code=1):
    made = nib.Nifti1Image(data, affine, dtype=dtype or data.dtype)
    made.set_sform(affine, code)
    made.set_qform(affine if abs(np.linalg.det(affine)) > 0 else None, code)
    made.to_filename(path)
    return path


def refusal(path, **options):
    with pytest.raises(BadInput) as caught:
        nifti.load(path, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_what_is_saved_comes_back(tmp_path, ending):
    before = Volume(image(), AFFINE, unit="Bq/mL")
    path = nifti.save(before, tmp_path / f"a_pet{ending}", sidecar={"TracerName": "FDG"})
    after = nifti.load(path)
    assert np.array_equal(after.data, before.data)
    assert after.same_grid(before)
    assert after.unit == "Bq/mL"
    assert after.source.sidecar["TracerName"] == "FDG"
    assert after.source.sha256 == nifti.sha256(path)


@pytest.mark.parametrize(("dtype", "error"), [(np.int16, 2e-5), (np.uint16, 2e-5), (np.int32, 1e-6), (">i2", 2e-5)])
def test_integers_clip_nothing_and_lose_little(tmp_path, dtype, error):
    data = image()
    path = nifti.save(Volume(data, AFFINE), tmp_path / "a.nii.gz", dtype=dtype)
    after = nifti.load(path)
    assert np.abs(after.data - data).max() < error * np.abs(data).max()
    assert after.source.dtype == np.dtype(dtype).newbyteorder("=")


def test_labels_are_kept_exactly(tmp_path):
    data = np.random.default_rng(0).integers(0, 208, (16, 16, 16)).astype(np.float32)
    path = nifti.save(Volume(data, AFFINE), tmp_path / "a.nii.gz", dtype=np.int16)
    assert np.array_equal(np.asarray(nib.load(path).dataobj.get_unscaled()), data)


def test_a_slope_on_disk_is_honoured(tmp_path):
    made = nib.Nifti1Image(np.full((16, 16, 16), 7, np.int16), AFFINE)
    made.dataobj[0, 0, 0] = 9
    made.header.set_slope_inter(0.5, 1)
    made.to_filename(tmp_path / "a.nii")
    assert nifti.load(tmp_path / "a.nii").data[0, 0, :2].tolist() == [5.5, 4.5]


def test_the_place_is_written_as_qform_and_sform(tmp_path):
    header = nib.load(nifti.save(Volume(image(), AFFINE), tmp_path / "a.nii")).header
    assert np.allclose(header.get_sform(), AFFINE)
    assert np.allclose(header.get_qform(), AFFINE, atol=1e-5)
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)


def test_negative_values_stay(tmp_path):
    path = put(tmp_path / "a.nii", image() - 5)
    assert nifti.load(path).data.min() < -5


def test_one_frame_counts_as_3d(tmp_path):
    assert nifti.load(put(tmp_path / "a.nii", image()[..., None])).shape == (18, 20, 17)


@pytest.mark.parametrize(("word", "unit"), [("BQML", "Bq/mL"), ("Bq/mL", "Bq/mL"), ("GML", "SUV"), ("odd", "odd")])
def test_the_unit_comes_from_the_sidecar(tmp_path, word, unit):
    (tmp_path / "a.json").write_text(json.dumps({"Units": word}))
    assert nifti.load(put(tmp_path / "a.nii.gz", image())).unit == unit


def test_a_missing_file_is_refused(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none.nii.gz")


def test_a_folder_is_refused(tmp_path):
    assert "folder" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not an image at all, but a text of some length" * 20])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "a.nii").write_bytes(content)
    refusal(tmp_path / "a.nii")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_truncated_file_is_refused(tmp_path, ending, share):
    whole = put(tmp_path / f"a{ending}", image()).read_bytes()
    (tmp_path / f"b{ending}").write_bytes(whole[: int(share * len(whole))])
    refusal(tmp_path / f"b{ending}")


def test_a_damaged_gzip_is_refused(tmp_path):
    whole = bytearray(put(tmp_path / "a.nii.gz", image()).read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    (tmp_path / "b.nii.gz").write_bytes(whole)
    refusal(tmp_path / "b.nii.gz")


def test_an_image_that_is_no_nifti_is_refused(tmp_path):
    nib.MGHImage(image(), AFFINE).to_filename(tmp_path / "a.mgz")
    assert "NIfTI" in refusal(tmp_path / "a.mgz")


def test_several_frames_are_refused(tmp_path):
    assert "frames" in refusal(put(tmp_path / "a.nii", np.stack([image()] * 3, -1)))


@pytest.mark.parametrize("shape", [(40, 40), (40, 40, 1), (40, 40, 5)])
def test_slices_are_refused(tmp_path, shape):
    assert "3D" in refusal(put(tmp_path / "a.nii", image(shape=(40, 40, 40)).ravel()[: np.prod(shape)].reshape(shape)))


@pytest.mark.parametrize("kind", [[("R", "u1"), ("G", "u1"), ("B", "u1")], np.complex64])
def test_colour_and_complex_images_are_refused(tmp_path, kind):
    assert "one real number" in refusal(put(tmp_path / "a.nii", np.zeros((16, 16, 16), dtype=kind)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(tmp_path, bad):
    data = image()
    data[0, 0, 0] = bad
    assert "1 voxels" in refusal(put(tmp_path / "a.nii", data))


@pytest.mark.parametrize("value", [0, 3])
def test_an_image_that_shows_nothing_is_refused_unless_allowed(tmp_path, value):
    path = put(tmp_path / "a.nii", np.full((16, 16, 16), value, np.float32))
    assert "in every voxel" in refusal(path)
    assert nifti.load(path, what="lesions", allow_blank=True).data.max() == value


def test_an_image_without_a_place_is_refused(tmp_path):
    assert "where it lies" in refusal(put(tmp_path / "a.nii", image(), code=0))


def test_a_singular_affine_is_refused(tmp_path):
    flat = AFFINE.copy()
    flat[:3, 1] = flat[:3, 0]
    made = nib.Nifti1Image(image(), None)
    made.header["sform_code"] = 1
    made.header["srow_x"], made.header["srow_y"], made.header["srow_z"] = flat[:3]
    made.to_filename(tmp_path / "a.nii")
    assert "affine" in refusal(tmp_path / "a.nii") or "voxels" in refusal(tmp_path / "a.nii")


def test_a_voxel_edge_of_zero_is_refused_where_it_counts(tmp_path):
    made = nib.Nifti1Image(image(), AFFINE)
    made.set_qform(AFFINE, 1)
    made.set_sform(None, 0)
    for ending in ("a.nii", "a.nii.gz", "a.img"):
        (nib.Nifti1Pair.from_image(made) if ending == "a.img" else made).to_filename(tmp_path / ending)
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[80:84] = np.float32(0).tobytes()  # pixdim[1], which nibabel would read as 1 mm
    (tmp_path / "a.nii").write_bytes(raw)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(raw)))
    header = bytearray((tmp_path / "a.hdr").read_bytes())
    header[80:84] = np.float32(0).tobytes()
    (tmp_path / "a.hdr").write_bytes(header)
    for ending in ("a.nii", "a.nii.gz", "a.img"):
        assert "voxel edge of zero" in refusal(tmp_path / ending)
    whole = put(tmp_path / "b.nii", image())  # its sform says where it lies
    raw = bytearray(whole.read_bytes())
    raw[80:84] = np.float32(0).tobytes()
    whole.write_bytes(raw)
    np.testing.assert_allclose(nifti.load(whole).affine, AFFINE)


def test_endings_count_in_capitals_too(tmp_path):
    before = put(tmp_path / "a.nii.gz", image())
    shouted = tmp_path / "A.NII.GZ"
    shouted.write_bytes(before.read_bytes())
    (tmp_path / "A.json").write_text(json.dumps({"Units": "BQML"}))
    after = nifti.load(shouted)
    assert np.array_equal(after.data, nifti.load(before).data) and after.unit == "Bq/mL"
    assert nifti.stem("x/A.NII") == "A" and nifti.stem("b.img.gz") == "b" and nifti.stem("c.hdr") == "c"
    shouted.write_bytes(before.read_bytes()[:2000])
    assert "cut off" in refusal(shouted)


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_float32_are_refused_without_other_words(tmp_path):
    data = image().astype(np.float64)
    data[2, 2, 2] = 1e60
    assert "beyond 3e38" in refusal(put(tmp_path / "a.nii", data))


def test_what_is_no_json_is_not_passed_on(tmp_path):
    (tmp_path / "a.json").write_text('{"Dose": NaN, "Weight": -Infinity, "TracerName": "FDG"}')
    sidecar = nifti.load(put(tmp_path / "a.nii", image())).source.sidecar
    assert sidecar == {"Dose": None, "Weight": None, "TracerName": "FDG"}


def test_a_broken_sidecar_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("{")
    assert "JSON" in refusal(put(tmp_path / "a.nii", image()))


def test_a_refusal_names_the_image(tmp_path):
    assert refusal(tmp_path / "none.nii", what="MRI").startswith("The MRI")


def test_other_endings_are_not_written(tmp_path):
    with pytest.raises(BadInput, match="nii"):
        nifti.save(Volume(image(), AFFINE), tmp_path / "a.png")


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gzip.GzipFile, "write", full)
    with pytest.raises(BadInput, match="disk is full"):
        nifti.save(Volume(image(), AFFINE), tmp_path / "a.nii.gz", sidecar={"Units": "SUV"})
    assert list(tmp_path.iterdir()) == []


def test_image_and_sidecar_appear_together(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_settle", lambda file: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(BadInput, match="disk is full"):
        nifti.save(Volume(image(), AFFINE), tmp_path / "a.nii.gz", sidecar={})
    assert list(tmp_path.iterdir()) == []
