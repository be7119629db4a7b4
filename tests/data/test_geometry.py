"""A NIfTI header that says its spacing or place in two ways is reported, and a knob chooses."""

import re

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from rubik_jax.data import entries, formats, outliers, spacing, volumes, writing
from rubik_jax.data.cases import Case
from rubik_jax.data.preprocess import to_json
from tests.preprocessing import scaled

PIXDIM = (1.3, 1.3, 10)


def scan(path, sform=None, qform=None, pixdim=None, codes=(2, 0), units="mm"):
    """A NIfTI whose header is written field by field."""
    voxels = np.random.default_rng(list(path.name.encode())).integers(0, 900, (6, 7, 8), np.int16)
    image = nib.Nifti1Image(voxels, np.eye(4))
    image.header.set_xyzt_units(units)
    if qform is not None:
        image.set_qform(qform, codes[1])
    image.set_sform(np.eye(4) if sform is None else sform, codes[0])
    if pixdim is not None:
        image.header["pixdim"][1:4] = pixdim
    nib.save(image, path)
    return path


TURNED = np.array([[0, -1.0, 0, 5], [1, 0, 0, 7], [0, 0, 1, 9], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"pixdim": PIXDIM}, r"the affine says voxels of 1x1x1 mm and pixdim 1\.3x1\.3x10 mm, of"),
        (
            {"sform": np.diag([1, 1, 3, 1]), "qform": np.diag([1, 1, 2.5, 1]), "codes": (1, 1)},
            r"of 1x1x3 mm and pixdim 1x1x2\.5 mm",
        ),
        (
            {"sform": TURNED, "qform": np.eye(4), "codes": (1, 1)},
            r"sform and the qform place it up",
        ),
        ({"sform": np.diag([-1, 1, 1, 1]), "qform": np.eye(4), "codes": (1, 1)}, r"up to 12 mm ap"),
    ],
)
def test_contradictions_are_put_in_words(tmp_path, header, said):
    (doubt,) = formats.open_scan(scan(tmp_path / "a.nii", **header)).doubts
    assert re.search(said, doubt)


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"sform": TURNED},
        {"sform": TURNED, "qform": TURNED, "codes": (1, 1)},
        {"sform": np.diag([1, 1, 2.5, 1]), "pixdim": (1, 1, 2.5000002)},
        {"sform": np.diag([1, 1, 2.5, 1]), "pixdim": (0, 0, 0)},
        {"sform": np.diag([1, 1, 2.5, 1]), "pixdim": (1, 1, np.nan)},
        {"sform": np.diag([900, 900, 900, 1]), "pixdim": (900, 900, 900), "units": "micron"},
        {"qform": np.diag([1, 1, 2.5, 1]), "codes": (0, 1)},
    ],
)
def test_a_sound_header_has_no_doubts(tmp_path, header):
    path = scan(tmp_path / "a.nii", **header)
    plain, chosen = (formats.open_scan(path, geometry=of) for of in ("affine", "pixdim"))
    assert plain.doubts == chosen.doubts == ()
    np.testing.assert_allclose(chosen.affine, plain.affine, rtol=1e-6)


def test_the_knob_chooses_and_masks_lie_on_the_scan(tmp_path):
    path = scan(tmp_path / "a.nii", sform=TURNED, pixdim=PIXDIM)
    cases = [Case("a", (path,))]
    for geometry, expected in (("affine", (1, 1, 1)), ("pixdim", PIXDIM)):
        volume = volumes.read((path,), geometry=geometry)
        turned = np.array(expected)[[1, 0, 2]]
        np.testing.assert_allclose(nib.affines.voxel_sizes(volume.affine), turned, rtol=1e-6)
        of_all = spacing.median(cases, orientation="RAS", geometry=geometry)
        np.testing.assert_allclose(of_all, turned, rtol=1e-4)
        ready = entries.ready(cases[0], scaled(0, 900, geometry=geometry))
        assert (
            f"{'pixdim' if geometry == 'pixdim' else 'the affine'} is taken"
            in (ready.facts["doubts"][0])
        )
        labels = (volume.array[..., 0] > 450).astype(np.uint8)
        mask = tmp_path / f"{geometry}.nii.gz"
        writing.write_mask(mask, labels, path)
        assert (volumes.read_mask(mask, volume, geometry=geometry) == labels).all()
        ours, theirs = SimpleITK.ReadImage(mask), SimpleITK.ReadImage(path)
        assert ours.GetSpacing() == theirs.GetSpacing()


def test_a_cohort_names_the_case_that_contradicts_itself(tmp_path):
    how = scaled(0, 900)
    cases = [
        Case(n, (scan(tmp_path / f"{n}.nii", pixdim=p),)) for n, p in (("a", None), ("b", PIXDIM))
    ]
    facts = [entries.ready(case, how).facts for case in cases]
    ((name, (doubt,)),) = outliers.find(["a", "b"], facts).items()
    assert name == "b" and "1.3x1.3x10" in doubt and "config.data.geometry" in doubt


def test_a_store_is_keyed_by_what_was_chosen_and_stays_valid_where_nothing_was(tmp_path):
    plain, chosen = scaled(0, 900), scaled(0, 900, geometry="pixdim")
    assert "geometry" not in to_json(plain) and to_json(chosen)["geometry"] == "pixdim"
    case = Case("a", (scan(tmp_path / "a.nii", pixdim=PIXDIM),))
    built = [entries.build([case], tmp_path / "store", how=how).store for how in (plain, chosen)]
    assert built[0].keys != built[1].keys
    np.testing.assert_allclose(built[1].entries[0]["spacing"], PIXDIM, rtol=1e-6)
