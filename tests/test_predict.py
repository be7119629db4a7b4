"""From files to files: predictions lie where their scans lie, and look as in training."""

import csv
from functools import partial

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from rubik_jax import inference, predict
from rubik_jax.data import store
from rubik_jax.data.cases import Case
from rubik_jax.errors import UserError
from rubik_jax.report import progress

WINDOW = {"kind": "window", "low": 0.0, "high": 100.0}
OPTIONS = {"window": (4, 4, 4), "overlap": 0.5, "batch_size": 2, "intensity": WINDOW}
AXES = ("RAS", "LAS", "PSR", "oblique")


def _affine(axes):
    if axes == "oblique":
        a = np.deg2rad(20)
        turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        return nib.affines.from_matvec(turn @ np.diag([1, 1.5, 3]), (-20, 4, 33))
    return nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(axes), (5, 6, 7))


def _thirds(windows):
    """Three classes: the voxel's first channel below 1/3, up to 2/3, above; sure of itself."""
    bright = windows[..., :1]
    parts = [bright < 1 / 3, (bright >= 1 / 3) & (bright < 2 / 3), bright >= 2 / 3]
    return np.concatenate(parts, axis=-1).astype(np.float32)


@pytest.fixture
def cases(tmp_path):
    """A cohort of two modalities, in files of several orientations."""
    found = []
    for axes in AXES:
        images = []
        for modality in range(2):
            path = tmp_path / "scans" / f"{axes}_{modality}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            rng = np.random.default_rng((AXES.index(axes), modality))
            voxels = rng.integers(-10, 110, (5, 6, 7)).astype(np.int16)
            nib.save(nib.Nifti1Image(voxels, _affine(axes)), path)
            images.append(path)
        found.append(Case(axes, tuple(images)))
    return found


def _masks(cases, output, **options):
    return predict.predict_masks(
        cases, _thirds, output=output, values=(0, 1, 4), **OPTIONS, **options
    )


def test_masks_hold_the_labels_on_the_grid_of_each_scan(cases, tmp_path):
    output = tmp_path / "new" / "out"
    written = _masks(cases, output, mirror=(0, 1, 2))
    assert written == [output / f"{axes}.nii.gz" for axes in AXES]
    for case, path in zip(cases, written, strict=True):
        scan, mask = nib.load(case.images[0]), nib.load(path)
        expected = np.array([0, 1, 4])[np.digitize(scan.get_fdata(), [100 / 3, 200 / 3])]
        np.testing.assert_array_equal(np.asarray(mask.dataobj), expected)
        np.testing.assert_array_equal(mask.affine, scan.affine)
        theirs, ours = (SimpleITK.ReadImage(file) for file in (case.images[0], path))
        for what in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
            assert getattr(ours, what)() == getattr(theirs, what)()
    assert sorted(path.name for path in output.iterdir()) == sorted(p.name for p in written)


def test_probabilities_come_on_request_in_the_order_of_the_values(cases, tmp_path):
    (mask,) = _masks(cases[2:3], tmp_path / "out", probabilities=True)
    names = {path.name for path in mask.parent.iterdir()}
    assert names == {"PSR.nii.gz", "PSR_probabilities.nii.gz"}
    kept = nib.load(mask.with_name("PSR_probabilities.nii.gz"))
    assert kept.shape == (5, 6, 7, 3)
    np.testing.assert_array_equal(kept.affine, nib.load(mask).affine)
    answer = np.array([0, 1, 4])[kept.get_fdata().argmax(-1)]
    np.testing.assert_array_equal(answer, nib.load(mask).get_fdata())
    np.testing.assert_allclose(kept.get_fdata().sum(-1), 1, rtol=1e-6)


def test_the_network_sees_the_very_voxels_of_the_store(cases, tmp_path):
    """Whole, as the window has the size of the scan: bit for bit what training reads."""
    percentile = {"kind": "percentile", "low": 1.0, "high": 99.0}
    prepared = store.build(cases, tmp_path / "store", intensity=percentile)
    for i, case in enumerate(cases):
        seen = []

        def forward(windows, seen=seen):
            seen.append(windows[0])
            return np.ones((1, 2), np.float32) / 2

        predict.predict_classes(
            [case],
            forward,
            output=tmp_path,
            window=prepared.shapes[i][:3],
            overlap=0.0,
            batch_size=1,
            classes=("a", "b"),
            intensity=percentile,
        )
        np.testing.assert_array_equal(seen, [np.asarray(prepared[i], np.float32)])


def test_masks_are_those_of_the_whole_volume_in_memory(cases, tmp_path):
    """That a case goes through the disk, slab by slab, changes nothing."""

    def forward(windows):  # depends on the place in the window
        place = np.cos(np.arange(64).reshape(4, 4, 4))
        first = np.clip(windows[..., 1] * 0.6 + 0.3 * place, 0, 1)
        return np.stack([first, 1 - first], axis=-1)

    options = OPTIONS | {"values": (0, 7), "output": tmp_path / "out"}
    (path,) = predict.predict_masks(cases[:1], forward, **options)
    prepared = store.build(cases[:1], tmp_path / "store", intensity=WINDOW)
    slabs = inference.sliding(
        forward, np.array(prepared[0]), window=(4, 4, 4), overlap=0.5, batch_size=2, classes=2
    )
    whole = np.concatenate([slab for _, slab in slabs])
    np.testing.assert_array_equal(nib.load(path).get_fdata(), 7 * whole.argmax(-1))


def test_classes_fill_a_table(cases, tmp_path):
    def forward(windows):
        first = windows[..., 0].mean(axis=(1, 2, 3))
        return np.stack([first, 1 - first], axis=-1)

    path = predict.predict_classes(
        cases, forward, output=tmp_path / "out", classes=("sick, very", "well"), **OPTIONS
    )
    assert path == tmp_path / "out" / "predictions.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["case", "class", "p_sick, very", "p_well"]
    assert [row["case"] for row in rows] == list(AXES)
    for row in rows:
        sick, well = float(row["p_sick, very"]), float(row["p_well"])
        assert sick + well == pytest.approx(1, abs=2e-6)
        assert row["class"] == ("sick, very" if sick > well else "well")
    assert len({row["p_well"] for row in rows}) == len(AXES)


def test_progress_is_told_of_every_case(cases, tmp_path, capsys):
    said = []

    def told(done, total):
        said.append(total)
        yield from done

    assert len(_masks(cases, tmp_path / "out", progress=told)) == said[0] == len(AXES)
    _masks(cases, tmp_path / "out", progress=partial(progress.track, what="predicting"))
    assert "predicting: 4 of 4" in capsys.readouterr().out


def test_a_bad_case_is_named_and_nothing_of_it_written(cases, tmp_path):
    cases[2].images[1].write_bytes(cases[2].images[1].read_bytes()[:-6])
    output = tmp_path / "out"
    with pytest.raises(UserError, match=r"case 'PSR' cannot be read: .*PSR_1\.nii\.gz"):
        _masks(cases, output, probabilities=True)
    assert {path.name.split(".")[0] for path in output.iterdir()} == {
        *("RAS", "RAS_probabilities"),
        *("LAS", "LAS_probabilities"),
    }
    with pytest.raises(UserError, match="case 'PSR' cannot be read"):
        predict.predict_classes(
            cases, lambda w: w[:, 0, 0, 0], output=output, classes=("a", "b"), **OPTIONS
        )
    assert not (output / "predictions.csv").exists()


def test_an_output_that_is_a_file_is_refused(cases, tmp_path):
    (tmp_path / "taken").touch()
    for output in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(UserError, match=r"--output=.*taken.* cannot be made: .*a folder"):
            _masks(cases, output)


@pytest.mark.parametrize("role", ["scan", "mask"])
def test_a_prediction_never_takes_the_place_of_a_scan_or_its_mask(cases, tmp_path, role):
    scan = cases[0].images[0]
    case = Case("RAS_0", (scan,)) if role == "scan" else Case("RAS_0", cases[1].images, scan)
    before = scan.read_bytes()
    (tmp_path / "link").symlink_to(scan.parent)
    for output in (scan.parent, tmp_path / "link"):
        with pytest.raises(UserError, match=r"RAS_0\.nii\.gz is a file of case 'RAS_0'"):
            _masks([case], output)
    assert scan.read_bytes() == before


def test_a_full_disk_is_one_sentence_and_leaves_no_rest(cases, tmp_path, monkeypatch):
    def full(file, array):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(UserError, match=r"case 'RAS' cannot be worked on in .*: No space left"):
        _masks(cases, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
