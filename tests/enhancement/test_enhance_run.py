"""The main job on a small scan with small networks of random weights: what must hold whatever the weights."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

import m2diff
from m2diff import families
from m2diff.enhancement import cards, volume
from m2diff.enhancement.enhanced import save_result
from m2diff.enhancement.run import enhance
from m2diff.enhancement.trusted import spread as spread_of
from m2diff.enhancement.volume import Options, repeat, seed_of
from m2diff.errors import BadInput
from m2diff.families import stored
from m2diff.io import atomic, nifti
from m2diff.preparation.pair import prepare
from m2diff.preparation.register import Alignment, Quality
from m2diff.volume import Volume

NETWORK = {"slices": 4, "fold": 2, "width": 8, "multipliers": [1, 2], "groups": 4}
SPECS = {
    "m2diff": {
        "family": "m2diff",
        "network": {**NETWORK, "head": "mean", "input_scaling": "wiener", "dose": True, "optional_mri": True},
        "sampling": {"steps": 2, "eta": 0.5, "spacing": "trailing"},
    },
    "regress": {"family": "regress", "network": NETWORK},
}
SHAPE = (44, 48, 34)
AFFINE = np.array([[-2.5, 0, 0, 55], [0, 2.2, 0, -60], [0, 0, 3.0, -40], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def scans():
    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    rng = np.random.default_rng(0)
    tissue = ((place**2).sum(0) < 0.75**2) * (0.7 + 0.4 * (ndimage.gaussian_filter(rng.normal(size=SHAPE), 2) > 0))
    pet = ndimage.gaussian_filter(tissue, 0.8) + 0.2 * np.sqrt(tissue) * ndimage.gaussian_filter(
        rng.normal(size=SHAPE), 0.6
    )
    return Volume((8000 * pet).astype(np.float32), AFFINE, "Bq/mL"), Volume(tissue.astype(np.float32), AFFINE)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Small networks whose last layer, zero at the start of training, is filled so that they do something."""
    folder = tmp_path_factory.mktemp("weights")
    for name, spec in SPECS.items():
        torch.manual_seed(0)
        model = families.build(spec)
        with torch.no_grad():
            for parameter in model.parameters():
                if not parameter.any():
                    parameter.normal_(0, 0.05)
        cards.save_weights(model, spec, {"tracers": ["FDG"], "licence": "CC0"}, folder / f"{name}.safetensors")
    return {name: folder / f"{name}.safetensors" for name in SPECS}


@pytest.fixture(scope="module")
def files(scans, tmp_path_factory):
    """The pair as files: the PET as big-endian int16 with a sidecar."""
    folder = tmp_path_factory.mktemp("scans")
    pet, mri = scans
    sidecar = {"Units": "BQML", "TracerName": "FDG", "DoseReductionFactor": 20, "ReconMethodName": "OSEM3D 3i21s"}
    nifti.save(pet, folder / "sub-1_pet.nii.gz", dtype=np.int16, sidecar=sidecar)
    nifti.save(mri, folder / "sub-1_T1w.nii.gz")
    return folder / "sub-1_pet.nii.gz", folder / "sub-1_T1w.nii.gz"


def run(scans, weights, name="m2diff", **options):
    pet, mri = scans
    settings = {"weights": weights[name], "align": False, "precision": "fp32", "drf": 20.0} | options
    return enhance(pet, settings.pop("mri", mri), **settings)


@pytest.mark.parametrize("name", ["m2diff", "regress", "gaussian", "mr-guided"])
def test_the_result_keeps_grid_and_unit_and_differs_from_the_input(scans, weights, name):
    result = run(scans, {**weights, "gaussian": "gaussian", "mr-guided": "mr-guided"}, name)
    assert result.volume.same_grid(scans[0])
    assert result.volume.unit == "Bq/mL"
    assert np.abs(result.volume.data - scans[0].data).max() > 10
    assert result.mri.same_grid(scans[0])


@pytest.mark.parametrize("name", ["m2diff", "regress", "mr-guided"])
def test_a_thousandfold_input_gives_a_thousandfold_output(scans, weights, name):
    weights = {**weights, "mr-guided": "mr-guided"}
    pet, mri = scans
    once = run(scans, weights, name).volume.data
    often = run((pet.with_data(pet.data * 1000, "x 1000"), mri), weights, name).volume.data
    assert np.abs(often / 1000 - once).max() < 1e-4 * once.max()


def test_the_seed_decides_and_the_batch_does_not(scans, weights):
    first = run(scans, weights, seed=1, batch=8).volume.data
    assert np.array_equal(run(scans, weights, seed=1, batch=8).volume.data, first)
    assert np.abs(run(scans, weights, seed=1, batch=1).volume.data - first).max() < 1e-4 * first.max()
    assert np.abs(run(scans, weights, seed=2, batch=8).volume.data - first).max() > 1e-3 * first.max()


def test_the_estimates_of_a_chain_can_be_watched_as_whole_volumes(scans, weights):
    prepared, seen = prepare(*scans, drf=20.0, align=False), {}
    options = Options(steps=3, precision="fp32")
    model = cards.load_weights(weights["m2diff"]).model
    result = volume.run_volume(model, prepared, seed=0, options=options, watch=lambda t, image: seen.update({t: image}))
    assert list(seen) == [999, 666, 332]
    assert np.array_equal(seen[332], result) and not np.allclose(seen[999], result)
    assert seen[999].shape == prepared.low.shape


def test_how_the_file_orders_its_axes_does_not_matter(scans, weights):
    pet, mri = scans
    turned = nib.as_closest_canonical(nib.Nifti1Image(pet.data, pet.affine))
    flipped = Volume(np.ascontiguousarray(turned.get_fdata(dtype=np.float32)), turned.affine, "Bq/mL")
    swapped = Volume(np.ascontiguousarray(flipped.data.transpose(2, 0, 1)), flipped.affine[:, [2, 0, 1, 3]], "Bq/mL")
    straight, other = run((pet, mri), weights).volume, run((swapped, mri), weights).volume
    assert other.same_grid(swapped)
    assert np.allclose(other.data.transpose(1, 2, 0)[::-1], straight.data, atol=1e-3 * straight.data.max())


def test_several_draws_give_their_mean_and_spread(scans, weights):
    prepared = prepare(*scans, drf=20, align=False)
    model = cards.load_weights(weights["m2diff"]).model
    options = Options(precision="fp32")
    draws = [volume.run_volume(model, prepared, seed=seed_of(5, n), options=options) for n in range(3)]
    both = repeat(model, prepared, samples=3, seed=5, options=options)
    assert np.allclose(both.mean, np.mean(draws, 0), atol=1e-5)
    assert np.allclose(both.spread, np.std(draws, 0, ddof=1), atol=1e-5)
    result = run(scans, weights, samples=2)
    assert result.spread.same_grid(scans[0])
    assert result.spread.data.min() >= 0
    assert result.spread.data.max() > 0


def test_a_regression_has_no_spread_and_says_so(scans, weights):
    result = run(scans, weights, "regress", samples=3)
    assert result.spread is None and result.settings["samples"] == 1
    assert any("draws nothing" in warning for warning in result.warnings)


def test_without_an_mri_the_pet_alone_is_read_and_said(scans, weights):
    result = run(scans, weights, mri=None)
    assert result.mri is None
    assert any("PET alone" in warning for warning in result.warnings)
    assert not any("PET alone" in warning for warning in run(scans, weights).warnings)


def test_outside_the_head_the_input_stays(scans, weights):
    wide = Volume(np.pad(scans[0].data, 14), AFFINE, "Bq/mL")
    prepared = prepare(wide, drf=20)
    answer = volume.run_volume(
        cards.load_weights(weights["regress"]).model, prepared, seed=0, options=Options(precision="fp32")
    )
    assert np.array_equal(answer[:2], prepared.low[:2])
    inside = prepared.support
    assert np.abs(answer[inside] - prepared.low[inside]).max() > 0.01


def test_written_results_carry_type_unit_place_and_provenance(files, weights, tmp_path):
    pet, mri = files
    result = enhance(pet, mri, weights=weights["m2diff"], samples=2, steps=2, align=False)
    written = save_result(result, tmp_path / "out")
    images = ("enhanced", "spread", "limit8mm", "limit12mm", "limit16mm")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *(f"sub-1_desc-{what}_pet.{ending}" for what in images for ending in ("nii.gz", "json")),
        *(f"sub-1_clusters.{ending}" for ending in ("tsv", "json")),
    }
    back = nifti.load(written.image)
    assert back.source.dtype == np.int16
    assert back.same_grid(nifti.load(pet))
    assert back.unit == "Bq/mL"
    assert np.abs(back.data - result.volume.data).max() < 5e-5 * result.volume.data.max()
    about = json.loads(written.sidecar.read_text())
    assert about["Units"] == "Bq/mL"
    assert about["Sources"] == ["sub-1_pet.nii.gz", "sub-1_T1w.nii.gz"]
    settings = about["m2diff"]
    assert settings["pet"]["sha256"] == nifti.sha256(pet)
    assert settings["weights"]["sha256"] == nifti.sha256(weights["m2diff"])
    assert settings["dose_reduction_factor"] == 20
    assert about["ReconMethodName"] == "OSEM3D 3i21s"  # what the sidecar says of the reconstruction is carried on
    assert (settings["steps"], settings["samples"], settings["seed"]) == (2, 2, 0)
    assert settings["versions"]["torch"] == torch.__version__


def test_a_full_disk_leaves_nothing_of_the_result(scans, weights, tmp_path, monkeypatch):
    result = run(scans, weights, "regress")
    monkeypatch.setattr(atomic, "_settle", lambda file: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(BadInput, match="disk is full"):
        save_result(result, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_scan_from_memory_can_be_written(scans, weights, tmp_path):
    written = save_result(run(scans, weights, "regress"), tmp_path)
    image, sidecar = (tmp_path / f"pet_desc-enhanced_pet.{ending}" for ending in ("nii.gz", "json"))
    assert (written.image, written.spread, written.sidecar, written.dicom) == (image, None, sidecar, ())
    assert all(path.is_file() for path in (image, sidecar, *written.images))


@pytest.mark.parametrize(
    ("named", "warned"),
    [("FDG", False), ("18F-FDG", False), ("Fluorodeoxyglucose F^18^", False), ("Florbetapir", True), ("", False)],
)
def test_a_tracer_that_the_card_does_not_name_is_warned_of(scans, weights, files, named, warned):
    pet = nifti.load(files[0])
    pet.source.sidecar["TracerName"] = named
    result = enhance(pet, weights=weights["regress"], precision="fp32")
    assert any("tracer" in warning for warning in result.warnings) == warned
    assert list(result.warnings) == result.settings["warnings"]


@pytest.mark.parametrize("options", [{"steps": 0}, {"steps": 5000}, {"samples": 0}, {"seed": -1}, {"batch": 0}])
def test_options_that_mean_nothing_are_refused(scans, weights, options):
    with pytest.raises(BadInput):
        run(scans, weights, **options)


def test_weights_that_answer_nan_are_refused(scans, weights, monkeypatch):
    loaded = cards.load_weights(weights["regress"])
    for parameter in loaded.model.parameters():
        torch.nn.init.constant_(parameter, float("nan"))
    monkeypatch.setattr(cards, "load_weights", lambda *_, **__: loaded)
    with pytest.raises(BadInput, match="NaN"):
        run(scans, weights, "regress")


def test_the_package_is_called_as_its_verb(scans, weights):
    result = m2diff.enhance(scans[0], weights=weights["regress"], precision="fp32")
    assert result.volume.same_grid(scans[0])


def test_weights_that_are_loaded_give_the_same_image_as_their_name(scans, weights):
    named = run(scans, weights, "regress")
    loaded = run(scans, {"regress": cards.load_weights(weights["regress"])}, "regress")
    assert np.array_equal(named.volume.data, loaded.volume.data)
    assert named.settings["weights"] == loaded.settings["weights"]
    assert named.settings["first_estimate"] is None


def test_several_draws_take_the_weights_own_steps_unless_that_is_one(scans, tmp_path):
    for own, taken in ((1, 5), (2, 2)):
        spec = {"family": "m2diff", "network": NETWORK, "sampling": {"steps": own}}
        cards.save_weights(families.build(spec), spec, {}, tmp_path / f"{own}.safetensors")
        given = {"it": tmp_path / f"{own}.safetensors"}
        assert run(scans, given, "it", samples=2).settings["steps"] == taken
        assert run(scans, given, "it").settings["steps"] == own


def test_a_card_whose_tracers_are_no_list_is_refused(files, tmp_path):
    spec = {"family": "regress", "network": NETWORK}
    cards.save_weights(families.build(spec), spec, {"tracers": 5}, tmp_path / "a.safetensors")
    with pytest.raises(BadInput, match="tracers as a list"):
        enhance(files[0], weights=tmp_path / "a.safetensors")


def test_a_chain_starts_from_the_estimate_that_is_named(scans, weights, tmp_path):
    spec = {"family": "ddpet3d", "network": NETWORK, "sampling": {"steps": 1, "start": 500}}
    cards.save_weights(families.build(spec), spec, {}, tmp_path / "chain.safetensors")
    chain = {"chain": tmp_path / "chain.safetensors"}
    control = cards.load_weights(weights["regress"])
    one = run(scans, chain, "chain", first_estimate=weights["regress"])
    two = run(scans, chain, "chain", first_estimate=control)
    assert np.array_equal(one.volume.data, two.volume.data)
    assert one.settings["first_estimate"] == {"name": "regress", "sha256": control.sha256}
    assert run(scans, chain, "chain").settings["first_estimate"]["name"] == "regress-base"


def test_the_first_estimate_is_the_controls_own_answer_whatever_the_chain_is_told(
    scans, weights, tmp_path, monkeypatch
):
    """Its own number of steps: what is asked of the chain is asked of the chain alone."""
    spec = {"family": "ddpet3d", "network": NETWORK, "sampling": {"steps": 1, "start": 500}}
    cards.save_weights(families.build(spec), spec, {}, tmp_path / "chain.safetensors")
    given = []

    def listening(*arguments, first, **options):
        given.append((first, options["options"]))
        return repeat(*arguments, first=first, **options)

    monkeypatch.setattr("m2diff.enhancement.run.repeat", listening)
    chain = {"chain": tmp_path / "chain.safetensors"}
    run(scans, chain, "chain", first_estimate=weights["m2diff"], steps=1, seed=7)
    ((first, options),) = given
    assert options.steps == 1
    control, prepared = cards.load_weights(weights["m2diff"]).model, prepare(*scans, drf=20.0, align=False)
    own = volume.run_volume(control, prepared, seed=0, options=Options(precision="fp32"))
    assert np.array_equal(first, own)


def test_a_chain_starts_from_the_estimate_that_its_card_names(scans, weights, tmp_path):
    spec = {"family": "ddpet3d", "network": NETWORK, "sampling": {"steps": 1, "start": 500}}
    cards.save_weights(
        families.build(spec), spec, {"first_estimate": str(weights["regress"])}, tmp_path / "chain.safetensors"
    )
    made = run(scans, {"chain": tmp_path / "chain.safetensors"}, "chain")
    assert made.settings["first_estimate"]["name"] == "regress"


@pytest.mark.parametrize(
    ("folds", "handed", "said"),
    [(1.2, 1.3, []), (1.2, 1.0, ["Left and right"]), (0.9, 1.3, ["less well"]), (0.9, 1.0, ["Left and right", "less"])],
)
def test_an_mri_that_fits_in_doubt_is_told(scans, monkeypatch, folds, handed, said):
    found = Alignment(np.eye(4), Quality(0.9, 0.5), folds=folds, handed=handed)
    monkeypatch.setattr("m2diff.enhancement.run.prepare", lambda *a, **k: prepare(*a, drf=k["drf"], align=found))
    told = enhance(*scans, weights="mr-guided", drf=20.0).warnings
    warnings = [one for one in told if "uptake fills" not in one]  # the scan is no larger than an animal's head
    assert len(warnings) == len(said) and all(word in text for word, text in zip(said, warnings, strict=True))


def test_the_precision_that_was_worked_in_is_recorded(scans):
    asked = [enhance(scans[0], weights="gaussian", precision=precision) for precision in ("fp32", "bf16")]
    assert [made.settings["precision"] for made in asked] == ["fp32", "bf16"]


def test_a_filter_is_as_wide_as_the_dose_asks_for(scans):
    high, low = (enhance(scans[0], weights="gaussian", drf=drf).volume.data for drf in (4.0, 100.0))
    assert low.std() < 0.99 * high.std()


def test_names_and_dates_of_the_patient_stay_out_of_the_sidecar_unless_they_are_kept(files, weights, tmp_path):
    pet = nifti.load(files[0])
    pet.source.sidecar.update({"PatientName": "Somebody", "AcquisitionDateTime": "20250314"})
    result = enhance(pet, weights=weights["regress"], precision="fp32")
    bare, kept = (
        save_result(result, tmp_path / str(keep), keep_phi=keep).sidecar.read_text() for keep in (False, True)
    )
    assert "Somebody" not in bare and "20250314" not in bare and "Somebody" in kept


@pytest.mark.parametrize(("asked", "told"), [(None, 20.0), (7.0, 7.0)])
def test_the_dose_is_the_sidecars_unless_another_is_stated(files, weights, asked, told):
    result = enhance(files[0], weights=weights["regress"], precision="fp32", drf=asked)
    assert result.settings["dose_reduction_factor"] == told


@pytest.mark.parametrize("value", [0.05, -20, float("inf"), "20", None])
def test_a_sidecars_dose_that_is_no_reduction_factor_is_no_dose(files, weights, value):
    pet = nifti.load(files[0])
    pet.source.sidecar["DoseReductionFactor"] = value
    assert enhance(pet, weights=weights["regress"], precision="fp32").settings["dose_reduction_factor"] is None


def test_a_dose_that_is_not_known_is_told_where_the_network_reads_it(scans, weights):
    said = [" ".join(run(scans, weights, drf=drf).warnings) for drf in (None, 20.0)]
    assert ["The dose of this scan is not known" in each for each in said] == [True, False]


def test_one_file_as_both_images_is_refused(files, weights):
    with pytest.raises(BadInput, match="are one file"):
        enhance(files[0], files[0], weights=weights["m2diff"], align=False)


def test_the_spread_does_not_go_below_zero_on_a_finer_grid(scans):
    prepared = prepare(scans[0])
    spots = np.zeros(prepared.low.shape, dtype=np.float32)
    spots[::5, ::5, ::5] = 1.0  # between which a spline swings below zero
    assert prepared.restore(spots).data.min() < 0
    assert spread_of(prepared, spots, "spread").data.min() == 0


@pytest.mark.parametrize("name", [name for name in stored.shipped() if name.endswith("-small")])
def test_every_small_checkpoint_answers_out_of_the_box_with_and_without_an_mri(scans, name):
    pet, mri = scans
    reads_mri = cards.load_weights(name).model.needs.mri
    images = {
        "both": enhance(pet, mri, weights=name, steps=2, drf=20.0, align=False),
        "alone": enhance(pet, None, weights=name, steps=2, drf=20.0),
    }
    for made in images.values():
        assert np.isfinite(made.volume.data).all()
        assert not np.allclose(made.volume.data, pet.data)
    same = np.array_equal(images["both"].volume.data, images["alone"].volume.data)
    assert same != reads_mri
    assert ("reads no MRI" in " ".join(images["both"].warnings)) != reads_mri
