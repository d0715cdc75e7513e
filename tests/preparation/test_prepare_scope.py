"""What is no adult's head is found out, and a plain scan of one passes untouched."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import bodies
from m2diff.enhancement.run import enhance
from m2diff.errors import BadInput
from m2diff.io import kind
from m2diff.io.dicom.sidecar import sidecar as from_header
from m2diff.preparation import body, mask, scope
from m2diff.preparation.grid import to_working
from m2diff.preparation.mask import PetOnGrid
from m2diff.preparation.pair import prepare
from m2diff.volume import Source, Volume

SHORT = {"length": 560.0, "bladder": 0.0}  # head, shoulders and heart


def calm(**person):
    """A body on blocks of the working grid, smoothed as ``mask.calmed`` does."""
    scan = ndimage.gaussian_filter(bodies.body(**person).data, mask.CALM_MM / 2.355 / bodies.MM)
    return scan.repeat(2, 0).repeat(2, 1).repeat(2, 2)


def image(name, sidecar=None, unit="unknown", shape=(64, 64, 64), mm=2.0):
    data = np.random.default_rng(0).random(shape, dtype=np.float32)
    source = Source(Path(name), "0" * 64, np.dtype(np.float32), sidecar or {})
    return Volume(data, np.diag([mm, mm, mm, 1.0]), unit, (), source)


PET = image("sub-1_pet.nii.gz", {"Modality": "PT"}, "Bq/mL")


@pytest.mark.parametrize(
    "person",
    [
        {},
        SHORT,
        {"heart": 60.0, **SHORT},
        {"noise": 4.0},
        {"bladder": 200.0, "noise": 1.0},
        {"arms": "up", "air": 260.0},
        {"arms": "up", "air": 260.0, "noise": 2.0},
        {"air": 4.0, "noise": 2.0},
        {"brain": 0.2, "heart": 1.5, "bladder": 20.0, "noise": 1.0},
    ],
)
def test_the_head_of_a_longer_body_is_found(person):
    kept = body.head_in(calm(**person))
    crown = (person.get("length", 900.0)) / 2.0  # in voxels of 2 mm, from below
    assert -260 < (kept.span.start - crown) * 2 < -170 and 0 <= (kept.span.stop - crown) * 2 < 60


def test_the_scale_and_the_head_are_those_of_the_head_alone():
    alone = PetOnGrid.of(bodies.body(length=230.0, heart=0, bladder=0, noise=1.0)).scale
    scan = PetOnGrid.of(bodies.body(**SHORT, heart=60.0, noise=1.0))
    z = scan.image.affine[2, 2] * np.flatnonzero(scan.head.any(axis=(0, 1))) + scan.image.affine[2, 3]
    assert scan.scale == pytest.approx(alone, rel=0.06)
    assert -250 < z.min() < -140 and z.max() < 60


@pytest.mark.parametrize(("axes", "flips"), [((0, 1, 2), (2,)), ((2, 0, 1), (0, 2)), ((1, 2, 0), (0, 1, 2))])
def test_the_head_is_at_the_end_that_the_affine_calls_upper(axes, flips):
    straight = bodies.body(length=400.0, bladder=0)
    there, other = (mask.calmed(to_working(scan).data) for scan in (straight, bodies.turned(straight, axes, flips)))
    assert np.array_equal(there, other) and body.head_in(there).span.stop > 200


def test_the_result_lies_on_the_scans_own_grid_and_the_body_stays_the_input():
    scan = bodies.turned(bodies.body(length=420.0, bladder=0, noise=0.5), (2, 0, 1), (2,))
    result = enhance(scan, weights="gaussian", drf=20.0)
    assert result.volume.same_grid(scan)
    assert any("424 mm of a body" in note for note in result.warnings)
    before, after = scan.data, result.volume.data
    heights = scan.affine[2, 0] * np.arange(scan.shape[0]) + scan.affine[2, 3]
    below, brain = heights < -270, np.abs(heights + 80) < 40
    assert np.allclose(before[below], after[below], atol=1e-3 * before.max())
    assert np.abs(before[brain] - after[brain]).max() > 0.05 * before.max()


@pytest.mark.parametrize("person", [{"air": -280.0}, {"air": -330.0, "noise": 1.0}, {"air": -110.0}])
def test_a_body_without_a_head_is_refused(person):
    with pytest.raises(BadInput, match="no whole head"):
        body.head_in(calm(**person))


def test_a_body_whose_header_has_it_upside_down_is_refused():
    with pytest.raises(BadInput, match="which end is up"):
        body.head_in(calm()[:, :, ::-1])


def test_a_torso_in_a_short_field_of_view_is_refused():
    cut = bodies.body(length=640.0, air=-420.0, heart=2.0, bladder=0)
    with pytest.raises(BadInput, match="mm wide"):
        scope.remarks(cut, PetOnGrid.of(cut), None)


@pytest.mark.parametrize(
    "person", [{"length": 230.0}, {"length": 300.0, "noise": 3.0}, {"length": 230.0, "air": 120.0}]
)
def test_a_scan_of_a_head_is_left_as_it_was(person):
    plain = bodies.body(**{"heart": 0, "bladder": 0, **person})
    scan = PetOnGrid.of(plain)
    top = mask.uptake_level(scan.calm)
    assert scan.kept is None and scope.remarks(plain, scan, None) == ()
    assert np.array_equal(scan.head, mask.head(scan.calm, top))
    assert scan.scale == float(scan.calm[scan.calm > 0.4 * top].mean(dtype=np.float64))


@pytest.mark.parametrize(
    ("name", "sidecar", "found"),
    [
        ("t2.nii.gz", {"SeriesDescription": "T2 SPACE"}, "T2"),
        ("x.nii.gz", {"ProtocolName": "t2_tirm_tra_dark-fluid"}, "T2"),
        ("x.nii.gz", {"SeriesDescription": "Sag 3D FLAIR"}, "FLAIR"),
        ("x.nii.gz", {"EchoTime": 0.4}, "echo time of 400 ms"),
        ("x.nii.gz", {"EchoTime": 100}, "echo time of 100 ms"),
        ("sub-1_T2w.nii.gz", {}, "T2"),
        ("sub-1_FLAIR.nii.gz", {}, "FLAIR"),
    ],
)
def test_another_weighting_is_refused_by_sidecar_or_name(name, sidecar, found):
    with pytest.raises(BadInput, match=f"{found}.*give the T1, or none"):
        scope.check(PET, image(name, sidecar))


@pytest.mark.parametrize(
    ("name", "sidecar"),
    [
        ("sub-1_T1w.nii.gz", {"SeriesDescription": "T1 FLAIR", "EchoTime": 0.02}),
        ("t2_visit_mprage.nii.gz", {"ProtocolName": "MPRAGE at T2"}),
        ("anat.nii.gz", {"EchoTime": 0.00298, "RepetitionTime": 2.3, "InversionTime": 0.9}),
        ("anat.nii.gz", {"EchoTime": 2.98}),
        ("t1_in_pet.nii.gz", {}),
        ("scan_t2.nii.gz", {}),
    ],
)
def test_a_t1_passes_whatever_else_its_words_hold(name, sidecar):
    scope.check(PET, image(name, sidecar))


@pytest.mark.parametrize(
    ("pet", "mri", "said"),
    [
        (image("a.nii.gz", {"Modality": "MR"}), None, "is a MRI"),
        (image("sub-1_T1w.nii.gz"), None, "is a MRI"),
        (image("a.nii.gz", {"Modality": "CT"}), None, "is a CT"),
        (PET, image("b.nii.gz", {"Modality": "PT"}), "is a PET"),
        (PET, image("b.nii.gz", {}, "Bq/mL"), "is a PET"),
        (PET, image("sub-1_pet.nii.gz"), "is a PET"),
        (image("a.nii.gz", {"Species": "Rattus norvegicus"}), None, "Rattus"),
        (image("a.nii.gz", mm=0.8), None, "at most 51 mm"),
    ],
)
def test_what_is_no_pet_or_no_mri_of_a_person_is_refused(pet, mri, said):
    with pytest.raises(BadInput, match=said):
        scope.check(pet, mri)


def test_a_pet_in_the_space_of_a_t1_and_a_person_pass():
    scope.check(image("sub-1_pet_space-T1w.nii.gz", {"Species": "Homo sapiens"}), image("sub-1_T1w.nii.gz"))


def brain_of(csf, grey, white):
    """A folded brain of these values, (i, j, k) at 2 mm, and its mask."""
    shape = (76, 92, 76)
    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    folds = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), 2.5)
    radius = np.sqrt((place**2).sum(0)) + 0.12 * folds / folds.std()
    values = np.select([radius < 0.2, radius < 0.62, radius < 0.85, radius < 0.95], [csf, white, grey, csf], 0.0)
    return ndimage.gaussian_filter(values, 0.7).astype(np.float32), (place**2).sum(0) < 0.95**2


@pytest.mark.parametrize(
    ("weights", "t1"), [((0.3, 0.7, 1.0), True), ((1.6, 0.8, 0.5), False), ((0.25, 1.0, 0.7), False)]
)
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_white_matter_outshines_grey_in_a_t1_alone(weights, t1, noise):
    values, inside = brain_of(*weights)
    values += noise * np.random.default_rng(1).normal(size=values.shape).astype(np.float32)
    assert (scope.white_rank(np.abs(values), inside) >= scope.T1_RANK) == t1


def test_a_t2_that_nothing_names_is_noted_and_so_is_an_mri_given_as_the_pet():
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    pet, t1, t2 = (Volume(brain_of(*w)[0], affine) for w in ((0.05, 1.0, 0.4), (0.3, 0.7, 1.0), (1.6, 0.8, 0.5)))
    assert any("T2 or FLAIR" in note for note in prepare(pet, t2, align=False).remarks)
    assert prepare(pet, t1, align=False).remarks == ()
    fine = np.rint(1000 * ndimage.zoom(t1.data, 2, order=1))
    as_pet = Volume(fine.astype(np.float32), np.diag([1.0, 1.0, 1.0, 1.0]))
    assert any("looks like an MRI" in note for note in prepare(as_pet).remarks)
    stated = Volume(as_pet.data, as_pet.affine, "Bq/mL")
    assert not any("looks like an MRI" in note for note in prepare(stated).remarks)


def cylinder(radius=100.0, length=180.0, noise=0.0):
    x, y, z = np.meshgrid(*[np.arange(n) * 2.0 - n for n in (130, 130, 120)], indexing="ij")
    clean = ndimage.gaussian_filter(((x**2 + y**2 < radius**2) & (np.abs(z) < length / 2)).astype(np.float32), 1.5)
    grain = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=clean.shape), 1.0)
    return Volume((clean + noise * clean * grain / grain.std()).astype(np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_cylinder_is_noted(noise):
    assert any("phantom" in note for note in prepare(cylinder(noise=noise)).remarks)


def test_a_phantom_is_known_by_its_header():
    assert kind.is_phantom({"StudyDescription": "NEMA_IQ"}) and kind.is_phantom({"PatientName": "QC PET"})
    assert not kind.is_phantom({"StudyDescription": "CHUM QC brain", "PatientName": "Hoffman^Ann"})
    said = from_header(_header(PatientName="NEMA phantom"))
    assert said["QualityControlSubject"] == "YES" and "NEMA" not in str(said)
    assert "QualityControlSubject" not in from_header(_header(PatientName="Doe^Jane"))


def _header(**values):
    from pydicom.dataset import Dataset

    found = Dataset()
    found.Modality = values.pop("Modality", "PT")
    for key, value in values.items():
        setattr(found, key, value)
    return found


def test_a_dicom_header_tells_weighting_and_species():
    said = from_header(_header(Modality="MR", SeriesDescription="t2_space", EchoTime=400.0))
    assert said["EchoTime"] == 0.4 and "T2" in kind.other_weighting(image("mri", said))
    assert kind.animal_in(from_header(_header(PatientSpeciesDescription="Canine"))) == "Canine"


def test_a_small_head_is_noted():
    small = cylinder(30.0, 70.0)
    assert any("animal" in note for note in prepare(small).remarks)


@pytest.mark.parametrize(
    ("name", "sidecar", "again"),
    [
        ("a_desc-enhanced_pet.nii.gz", {}, True),
        ("a_pet.nii.gz", {"GeneratedBy": [{"Name": "m2diff"}]}, True),
        ("a_pet.nii.gz", {"GeneratedBy": [{"Name": "another"}], "m2diff": {"counts": 1e8}}, False),
    ],
)
def test_a_second_pass_is_noted(name, sidecar, again):
    scan = bodies.body(length=200.0, heart=0, bladder=0)
    scan = Volume(scan.data, scan.affine, "SUV", (), Source(Path(name), "0", np.dtype(np.float32), sidecar))
    assert any("second pass" in note for note in prepare(scan).remarks) == again
