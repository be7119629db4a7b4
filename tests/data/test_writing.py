"""What is written lies on the grid of the scan: for nibabel, for SimpleITK, and in the world."""

import gzip
import os

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from rubik_jax.data import volumes, writing
from rubik_jax.errors import RunError, UserError
from tests.affines import turned

RNG = np.random.default_rng(0)


GRIDS = {
    "RAS": turned(0),
    "LAS": turned(0, "LAS"),
    "LPI": turned(0, "LPI"),
    "PSR": turned(0, "PSR"),
    "SLA": turned(0, "SLA"),
    "oblique": turned(25),
    "oblique PSR": turned(20, "PSR", (1, 1, 6.5)),
    "far oblique LIP": turned(40, "LIP"),
}


@pytest.fixture(params=GRIDS)
def scan(request, tmp_path):
    """An int16 scan with slope and intercept, its sform and qform both set."""
    affine = GRIDS[request.param]
    image = nib.Nifti1Image(RNG.integers(-900, 900, (5, 6, 7)).astype(np.int16), affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=2)
    image.header.set_xyzt_units("mm", "sec")
    content = bytearray(image.to_bytes())
    header = np.frombuffer(content, nib.Nifti1Header.template_dtype, 1)
    header["scl_slope"], header["scl_inter"] = 0.5, -100
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(bytes(content)))
    return path


def test_a_mask_is_what_was_meant_voxel_by_voxel_in_the_order_of_the_file(scan, tmp_path):
    in_file = nib.load(scan).get_fdata() > -50
    in_ras = volumes.read((scan,)).array[..., 0] > -50
    writing.write_mask(tmp_path / "m.nii.gz", in_ras.astype(np.int64) * 4, scan)
    mask = nib.load(tmp_path / "m.nii.gz")
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(mask.dataobj), in_file * 4)
    assert (mask.dataobj.slope, mask.dataobj.inter) == (1, 0)
    by_itk = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(tmp_path / "m.nii.gz"))
    np.testing.assert_array_equal(by_itk.T, in_file * 4)


def test_the_grid_is_the_scans_for_nibabel_and_simpleitk(scan, tmp_path):
    writing.write_mask(
        tmp_path / "m.nii.gz", np.ones(volumes.read((scan,)).array.shape[:3], int), scan
    )
    theirs, ours = nib.load(scan), nib.load(tmp_path / "m.nii.gz")
    assert ours.shape == theirs.shape
    np.testing.assert_array_equal(ours.affine, theirs.affine)
    assert nib.aff2axcodes(ours.affine) == nib.aff2axcodes(theirs.affine)
    assert ours.header.get_zooms() == theirs.header.get_zooms()
    assert ours.header.get_xyzt_units() == theirs.header.get_xyzt_units()
    for form in ("get_sform", "get_qform"):
        (a, a_code), (b, b_code) = (getattr(i, form)(coded=True) for i in (ours, theirs))
        assert a_code == b_code
        np.testing.assert_array_equal(a, b)
    theirs, ours = SimpleITK.ReadImage(scan), SimpleITK.ReadImage(tmp_path / "m.nii.gz")
    for what in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(ours, what)() == getattr(theirs, what)()


def test_a_blob_stays_where_it_is_in_the_world(scan, tmp_path):
    """A scan with a bright voxel and a mask of one, found by different readers in one place."""
    read = volumes.read((scan,))
    labels = np.zeros(read.array.shape[:3], np.int16)
    at = (3, 1, 4)
    labels[at] = 1
    world = read.affine @ (*at, 1)
    writing.write_mask(tmp_path / "m.nii.gz", labels, scan)
    mask = nib.load(tmp_path / "m.nii.gz")
    (voxel,) = np.argwhere(mask.get_fdata())
    np.testing.assert_allclose(mask.affine @ (*voxel, 1), world, atol=1e-4)
    by_itk = SimpleITK.ReadImage(tmp_path / "m.nii.gz")
    (voxel,) = np.argwhere(SimpleITK.GetArrayFromImage(by_itk))
    lps = by_itk.TransformIndexToPhysicalPoint(voxel[::-1].tolist())
    np.testing.assert_allclose(np.multiply(lps, (-1, -1, 1)), world[:3], atol=1e-4)


def test_probabilities_lie_on_the_same_grid(scan, tmp_path):
    read = volumes.read((scan,)).array
    given = np.concatenate([read, 1 - read, read / 2], axis=-1).astype(np.float64)
    writing.write_probabilities(tmp_path / "p.nii.gz", given, scan)
    image = nib.load(tmp_path / "p.nii.gz")
    assert image.get_data_dtype() == np.float32
    np.testing.assert_array_equal(image.affine, nib.load(scan).affine)
    np.testing.assert_allclose(image.get_fdata()[..., 0], nib.load(scan).get_fdata())
    np.testing.assert_allclose(volumes.read((tmp_path / "p.nii.gz",), channels=3).array, given)


def test_sform_and_qform_that_disagree_are_both_kept(nifti, tmp_path):
    image = nib.Nifti1Image(RNG.random((5, 6, 7)), GRIDS["LAS"])
    image.set_sform(GRIDS["LAS"], code=4)
    image.set_qform(GRIDS["PSR"], code=1)
    nib.save(image, tmp_path / "scan.nii.gz")
    labels = volumes.read((tmp_path / "scan.nii.gz",)).array[..., 0] > 0.5
    writing.write_mask(tmp_path / "m.nii.gz", labels.astype(np.uint8), tmp_path / "scan.nii.gz")
    theirs, ours = nib.load(tmp_path / "scan.nii.gz"), nib.load(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(ours.get_fdata(), theirs.get_fdata() > 0.5)
    for form, code in (("get_sform", 4), ("get_qform", 1)):
        (a, found), (b, _) = (getattr(i, form)(coded=True) for i in (ours, theirs))
        assert found == code
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", [nib.Nifti2Image, nib.Nifti1Pair, nib.Nifti1Image])
def test_other_kinds_of_nifti_give_their_grid_too(tmp_path, kind):
    end = "hdr" if kind is nib.Nifti1Pair else "nii"
    scan = tmp_path / f"scan.{end}"
    image = kind(RNG.random((5, 6, 7, 2)).astype(np.float32), GRIDS["oblique PSR"])
    image.to_filename(scan)
    labels = volumes.read((scan,), channels=2).array[..., 1] > 0.5  # modalities: the mask is 3D
    writing.write_mask(tmp_path / "m.nii.gz", labels.astype(int), scan)
    mask = nib.load(tmp_path / "m.nii.gz")
    assert isinstance(mask, nib.Nifti2Image) == (kind is nib.Nifti2Image)
    np.testing.assert_array_equal(mask.affine, nib.load(scan).affine)
    np.testing.assert_array_equal(mask.get_fdata(), nib.load(scan).get_fdata()[..., 1] > 0.5)


@pytest.mark.parametrize("name", ["scan.nrrd", "scan.nhdr", "scan.mha", "scan.mhd"])
@pytest.mark.parametrize("grid", GRIDS)
def test_scans_of_itk_and_their_masks_lie_alike_for_itk(tmp_path, grid, name):
    affine, lps = GRIDS[grid], np.diag([-1.0, -1, 1])
    image = SimpleITK.GetImageFromArray(RNG.random((7, 6, 5), np.float32))
    image.SetSpacing(np.linalg.norm(affine[:3, :3], axis=0))
    image.SetDirection((lps @ (affine[:3, :3] / image.GetSpacing())).ravel())
    image.SetOrigin(lps @ affine[:3, 3])
    SimpleITK.WriteImage(image, tmp_path / name)
    read = volumes.read((tmp_path / name,))
    labels = np.zeros(read.array.shape[:3], np.int16)
    corner, inside = (labels.shape[0] - 1, 0, 0), (1, 3, 2)
    labels[corner], labels[inside] = 1, 2
    writing.write_mask(tmp_path / "m.nii.gz", labels, tmp_path / name)
    ours = SimpleITK.ReadImage(tmp_path / "m.nii.gz")
    assert ours.GetSize() == image.GetSize()
    for what in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(ours, what)(), getattr(image, what)(), atol=2e-5)
    for value, voxel in ((1, corner), (2, inside)):
        index = ours.TransformPhysicalPointToIndex((lps @ (read.affine @ (*voxel, 1))[:3]).tolist())
        assert ours[index] == value
        assert image[index] == read.array[voxel][0]
    for form in ("get_sform", "get_qform"):
        found, code = getattr(nib.load(tmp_path / "m.nii.gz"), form)(coded=True)
        assert code == 1
        np.testing.assert_allclose(found, affine, atol=2e-5)


def test_rows_and_arrays_give_their_grid_too(tmp_path):
    arrays = RNG.random((3, 5, 6, 7))
    np.savez(tmp_path / "rows.npz", train_images=arrays)
    np.savez(tmp_path / "one.npz", arrays[1], affine=GRIDS["oblique PSR"])
    labels = (arrays[1] > 0.5).astype(np.uint8)
    writing.write_mask(
        tmp_path / "m.nii.gz", labels, tmp_path / "rows.npz", row=("train_images", 1)
    )
    np.testing.assert_array_equal(nib.load(tmp_path / "m.nii.gz").get_fdata(), labels)
    np.testing.assert_array_equal(nib.load(tmp_path / "m.nii.gz").affine, np.eye(4))
    turned = volumes.read((tmp_path / "one.npz",), orientation="LPI").array > 0.5
    writing.write_mask(
        *(tmp_path / "n.nii.gz", turned[..., 0].astype(int), tmp_path / "one.npz"),
        orientation="LPI",
    )
    mask = nib.load(tmp_path / "n.nii.gz")
    np.testing.assert_array_equal(mask.get_fdata(), labels)
    np.testing.assert_allclose(mask.affine, GRIDS["oblique PSR"], atol=1e-5)


def test_axes_that_are_askew_have_no_qform(tmp_path):
    askew = np.eye(4)
    askew[1, 2] = 0.3
    np.savez(tmp_path / "a.npz", RNG.random((5, 6, 7)), affine=askew)
    writing.write_mask(tmp_path / "m.nii.gz", np.ones((5, 6, 7), int), tmp_path / "a.npz")
    image = nib.load(tmp_path / "m.nii.gz")
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 0)
    np.testing.assert_allclose(image.affine, askew, atol=1e-6)


@pytest.mark.parametrize(
    ("most", "kind"), [(255, np.uint8), (256, np.int16), (32767, np.int16), (32768, np.int32)]
)
def test_labels_take_the_smallest_type_that_holds_them(nifti, tmp_path, most, kind):
    labels = np.arange(336).reshape(6, 7, 8) % 2 * most
    writing.write_mask(tmp_path / "m.nii.gz", labels, nifti("scan.nii.gz"))
    mask = nib.load(tmp_path / "m.nii.gz")
    assert mask.get_data_dtype() == kind
    np.testing.assert_array_equal(np.asarray(mask.dataobj), labels)


def test_the_same_mask_gives_the_same_bytes_in_place_of_what_lay_there(nifti, tmp_path):
    scan, path = nifti("scan.nii.gz"), tmp_path / "m.nii.gz"
    path.write_bytes(b"older and longer" * 9999)
    seen = set()
    for _ in range(2):
        writing.write_mask(path, np.arange(336).reshape(6, 7, 8), scan)
        seen.add(path.read_bytes())
    assert len(seen) == 1 and nib.load(path).shape == (6, 7, 8)


def test_what_cannot_be_written_is_one_sentence_and_leaves_all_as_it_was(
    nifti, tmp_path, monkeypatch
):
    scan, labels = nifti("scan.nii.gz"), np.ones((6, 7, 8), np.uint8)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"m\.nii\.gz cannot be written"):
        writing.write_mask(tmp_path / "file" / "m.nii.gz", labels, scan)
    path = tmp_path / "out" / "m.nii.gz"
    path.parent.mkdir()
    path.write_bytes(b"before")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(RunError, match=r"no space left on the disk of .*m\.nii\.gz"):
            writing.write_mask(path, labels, scan)
    assert [file.name for file in path.parent.iterdir()] == ["m.nii.gz"]
    assert path.read_bytes() == b"before"


def test_refuses_a_grid_that_is_none_and_labels_of_another_shape(nifti, tmp_path):
    (tmp_path / "rows.npz").write_bytes(b"not a scan")
    labels = np.ones((6, 7, 8), np.uint8)
    with pytest.raises(UserError, match=r"rows\.npz is of no known format"):
        writing.write_mask(tmp_path / "m.nii.gz", labels, tmp_path / "rows.npz")
    nib.save(nib.MGHImage(np.ones((6, 7, 8), np.float32), np.eye(4)), tmp_path / "scan.mgz")
    with pytest.raises(UserError, match=r"scan\.mgz is a gzip file that holds no NIfTI"):
        writing.write_mask(tmp_path / "m.nii.gz", labels, tmp_path / "scan.mgz")
    with pytest.raises(ValueError, match="voxels for the grid"):
        writing.write_mask(tmp_path / "m.nii.gz", labels.T, nifti("scan.nii.gz"))
    assert not (tmp_path / "m.nii.gz").exists()
