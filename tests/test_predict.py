"""From files to files: predictions lie where their scans lie, and look as in training."""

import csv
from functools import partial

import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from rubik_jax import inference, predict
from rubik_jax.data import entries
from rubik_jax.data.cases import Case
from rubik_jax.errors import RunError, UserError
from rubik_jax.report import progress
from tests.forwards import mapped, watched
from tests.preprocessing import scaled

WINDOW = scaled(0, 100)
OPTIONS = {"window": (4, 4, 4), "overlap": 0.5, "batch_size": 2, "how": WINDOW}
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
    return jnp.concatenate(parts, axis=-1).astype(jnp.float32)


def _corner(windows):
    """Two "probabilities" of a window: the channels of its first voxel."""
    return windows[:, 0, 0, 0]


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
    options = OPTIONS | options
    options |= {"output": output, "values": (0, 1, 4)}
    return predict.predict_masks(cases, mapped(_thirds), **options).done


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


@pytest.mark.parametrize("absent", [0, 1])
def test_a_scan_that_lacks_a_modality_is_answered_on_the_grid_of_the_others(
    cases, tmp_path, absent
):
    images = list(cases[0].images)
    images[absent] = None
    (written,) = _masks([cases[0]._replace(images=tuple(images))], tmp_path / "out")
    mask, scan = nib.load(written), nib.load(images[1 - absent])
    np.testing.assert_array_equal(mask.affine, scan.affine)
    assert np.asarray(mask.dataobj).any() == (absent == 1)  # `_thirds` looks at the first alone


def _ball(axes):
    """A bright ball in an empty frame, smooth enough to be resampled, and what is bright of it."""
    grid = np.indices((24, 20, 18)).T - np.array([11.0, 9, 10])
    bright = np.clip(60 - 4 * np.linalg.norm(grid, axis=-1).T, 0, 100)
    return nib.Nifti1Image(bright.astype(np.float32), _affine(axes)), bright > 100 / 3


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize(
    "changed",
    [
        {"crop": "foreground"},
        {"spacing": (1.3, 0.8, 1.6)},
        {"crop": "foreground", "spacing": (0.7, 1.4, 1.0), "orientation": "LPS"},
        {"orientation": "SPR"},
    ],
    ids=str,
)
def test_what_was_done_to_a_scan_is_undone_in_its_mask(tmp_path, axes, changed):
    scan, bright = _ball(axes)
    nib.save(scan, tmp_path / "scan.nii.gz")
    cases = [Case("scan", (tmp_path / "scan.nii.gz",))]
    how = scaled(0, 100, **changed)
    (path,) = _masks(cases, tmp_path / "out", how=how, probabilities=True)
    mask = nib.load(path)
    np.testing.assert_array_equal(mask.affine, nib.load(cases[0].images[0]).affine)
    found = np.asarray(mask.dataobj) == 1
    overlap = 2 * (found & bright).sum() / (found.sum() + bright.sum())
    assert overlap == 1 if how.spacing is None else overlap > 0.93
    kept = nib.load(path.with_name("scan_probabilities.nii.gz")).get_fdata()
    np.testing.assert_allclose(kept.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(np.array([0, 1, 4])[kept.argmax(-1)], np.asarray(mask.dataobj))


def test_scans_that_cannot_be_read_may_be_skipped(cases, tmp_path):
    cases[1].images[0].write_bytes(b"no scan")
    with pytest.raises(UserError, match="case 'LAS' cannot be read"):
        _masks(cases, tmp_path / "out")
    given = OPTIONS | {"output": tmp_path / "out", "values": (0, 1, 4)}
    predicted = predict.predict_masks(cases, mapped(_thirds), **given, on_bad="skip")
    assert [path.name for path in predicted.done] == [f"{a}.nii.gz" for a in AXES if a != "LAS"]
    assert list(predicted.skipped) == ["LAS"] and "LAS_0" in predicted.skipped["LAS"]
    cases[1:] = cases[1:2]
    with pytest.raises(UserError, match="none of 1 cases can be used: case 'LAS'"):
        predict.predict_masks(cases[1:], mapped(_thirds), **given, on_bad="skip")


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
    percentile = scaled(1, 99, "percentile")
    prepared = entries.build(cases, tmp_path / "store", how=percentile).store

    def forward(windows):
        return jnp.ones((len(windows), 2)) / 2

    for i, case in enumerate(cases):
        seen = []
        predict.predict_classes(
            [case],
            watched(mapped(forward), seen),
            output=tmp_path,
            window=prepared.shapes[i][:3],
            overlap=0.0,
            batch_size=1,
            classes=("a", "b"),
            how=percentile,
        )
        np.testing.assert_array_equal(seen, [[np.asarray(prepared[i])]])


def test_masks_are_those_of_the_whole_volume_in_memory(cases, tmp_path):
    """That a case goes through the disk, slab by slab, changes nothing."""

    def forward(windows):  # depends on the place in the window
        place = jnp.cos(jnp.arange(64.0).reshape(1, 4, 4, 4))
        first = jnp.clip(windows[..., 1] * 0.6 + 0.3 * place, 0, 1)
        return jnp.stack([first, 1 - first], axis=-1)

    options = OPTIONS | {"values": (0, 7), "output": tmp_path / "out"}
    (path,) = predict.predict_masks(cases[:1], mapped(forward), **options).done
    prepared = entries.build(cases[:1], tmp_path / "store", how=WINDOW).store
    slabs = inference.sliding(
        mapped(forward),
        np.array(prepared[0]),
        window=(4, 4, 4),
        overlap=0.5,
        batch_size=2,
        classes=2,
    )
    whole = np.concatenate([slab for _, slab in slabs])
    np.testing.assert_array_equal(nib.load(path).get_fdata(), 7 * whole.argmax(-1))


def test_classes_fill_a_table(cases, tmp_path):
    def forward(windows):
        first = windows[..., 0].mean(axis=(1, 2, 3))
        return jnp.stack([first, 1 - first], axis=-1)

    predict.predict_classes(
        cases, mapped(forward), output=tmp_path / "out", classes=("sick, very", "well"), **OPTIONS
    )
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["case", "class", "p_sick, very", "p_well"]
    assert [row["case"] for row in rows] == list(AXES)
    for row in rows:
        sick, well = float(row["p_sick, very"]), float(row["p_well"])
        assert sick + well == pytest.approx(1, abs=2e-6)
        assert row["class"] == ("sick, very" if sick > well else "well")
    assert len({row["p_well"] for row in rows}) == len(AXES)


def test_progress_is_told_of_every_case(cases, tmp_path, capsys, monkeypatch):
    said = []

    def told(done, total):
        said.append(total)
        yield from done

    assert len(_masks(cases, tmp_path / "out", progress=told)) == said[0] == len(AXES)
    monkeypatch.setattr(progress, "SILENCE", -1)
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
            cases, mapped(_corner), output=output, classes=("a", "b"), **OPTIONS
        )
    assert not (output / "predictions.csv").exists()


def test_an_output_that_is_a_file_is_refused(cases, tmp_path):
    (tmp_path / "taken").touch()
    for output in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(UserError, match=r"--output=.*taken.* cannot be made: .*a folder"):
            _masks(cases, output)


def test_a_scan_may_lack_a_modality_or_be_a_row_of_a_file(cases, tmp_path):
    """Rows differ in shape from the file's own array, whose grid is nobody's."""
    rows = np.random.default_rng(0).integers(0, 100, (3, 5, 6, 7)).astype(np.int16)
    np.savez(tmp_path / "rows.npz", train_images=rows)
    scan = np.asarray(nib.load(cases[2].images[0]).dataobj)
    given = [
        (Case("lacks", (cases[2].images[0], None)), scan),
        (Case("row", (tmp_path / "rows.npz",), row=("train_images", 1)), rows[1]),
    ]
    for case, voxels in given:
        (path,) = _masks([case], tmp_path / "out", probabilities=True)
        expected = np.array([0, 1, 4])[np.digitize(voxels, [100 / 3, 200 / 3])]
        np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), expected)


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
    with pytest.raises(RunError, match=r"no space left on the disk of .*out"):
        _masks(cases, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("moved", [False, True])
def test_regions_are_painted_one_over_the_other(cases, tmp_path, moved):
    """Above a third and above two thirds, of which the second lies within the first."""

    def nested(windows):
        bright = windows[..., 0]
        return jnp.stack([bright > 1 / 3, bright > 2 / 3], axis=-1).astype(jnp.float32)

    how = WINDOW._replace(crop="foreground") if moved else WINDOW
    given = OPTIONS | {"how": how, "output": tmp_path / "out", "probabilities": moved}
    (path,) = predict.predict_masks(
        cases[:1], mapped(nested), values=(0, 2, 5), order=(5, 2), **given
    ).done
    scan = nib.load(cases[0].images[0]).get_fdata()
    expected = np.array([0, 5, 2])[np.digitize(scan, [100 / 3, 200 / 3])]
    np.testing.assert_array_equal(nib.load(path).get_fdata(), expected)
    if moved:
        beside = nib.load(tmp_path / "out" / f"{cases[0].name}_probabilities.nii.gz")
        np.testing.assert_allclose(beside.get_fdata()[..., 1], scan > 200 / 3, atol=1e-6)
