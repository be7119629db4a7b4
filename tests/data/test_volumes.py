"""The reader's orientation, and everything it must refuse."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from rubik_jax.data import volumes
from rubik_jax.errors import UserError


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SLA"])
def test_every_orientation_reads_as_the_same_ras_volume(nifti, axes):
    scan = nib.Nifti1Image(np.random.default_rng(0).random((4, 5, 6)), np.diag([2.0, 3, 4, 1]))
    start = nib.io_orientation(scan.affine)
    turned = scan.as_reoriented(
        nib.orientations.ornt_transform(start, nib.orientations.axcodes2ornt(axes))
    )
    read = volumes.read((nifti("a.nii.gz", turned.get_fdata(), turned.affine),))
    np.testing.assert_allclose(read.array[..., 0], scan.get_fdata(), rtol=1e-6)
    np.testing.assert_allclose(read.affine, scan.affine, atol=1e-5)


def test_slope_applies_and_modalities_become_channels(nifti):
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    scan = nib.Nifti1Image(stored, np.eye(4))
    scan.header.set_slope_inter(0.5, -3)
    path = nifti("a.nii.gz")
    nib.save(scan, path)
    second = nifti("b.nii.gz", stored[..., None] * 2)
    read = volumes.read((path, second)).array
    assert read.dtype == np.float32
    # nibabel rescales on saving, so the file itself says what its numbers mean
    np.testing.assert_allclose(read[..., 0], nib.load(path).get_fdata(), atol=1e-4)
    np.testing.assert_array_equal(read[..., 1], stored * 2)


def test_one_4d_file_holds_declared_modalities_only(nifti):
    array = np.random.default_rng(0).random((4, 5, 6, 3)).astype(np.float32)
    path = nifti("a.nii.gz", array)
    np.testing.assert_array_equal(volumes.read((path,), channels=3).array, array)
    with pytest.raises(UserError, match=r"a\.nii\.gz is a 4D series"):
        volumes.read((path,))
    with pytest.raises(UserError, match=r"expected 2 modalities"):
        volumes.read((path,), channels=2)


def _edited(path, edit):
    content = bytearray(gzip.decompress(path.read_bytes()))
    edit(np.frombuffer(content, nib.Nifti1Header.template_dtype, 1))
    path.write_bytes(gzip.compress(bytes(content)))


def _no_affine(header):
    header["qform_code"] = header["sform_code"] = 0


def _huge(header):
    header["dim"][0][1:4] = 30000


def _lying(header):
    header["dim"][0][1:4] = 1000


def _truncated(path):
    path.write_bytes(path.read_bytes()[:-40])


def _cut_after_the_voxels(path):
    path.write_bytes(path.read_bytes()[:-6])


def _wrong_checksum(path):
    content = path.read_bytes()
    path.write_bytes(content[:-8] + bytes(4) + content[-4:])


def _dangling(path):
    path.unlink()
    path.symlink_to("gone.nii.gz")


def _folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (_dangling, "link to nothing"),
        (_folder, "is a folder"),
        (lambda path: path.write_bytes(b"not a scan" * 99), "is of no known format"),
        (lambda path: path.write_bytes(b""), "is an empty file"),
        (_truncated, "damaged or cut short"),
        (_cut_after_the_voxels, "damaged or cut short"),
        (_wrong_checksum, "damaged or cut short"),
        (lambda path: _edited(path, _no_affine), "has no affine"),
        (lambda path: _edited(path, _huge), "30000x30000x30000 voxels .* more than it can hold"),
        (lambda path: _edited(path, _lying), "1000x1000x1000 voxels .* more than it can hold"),
    ],
)
def test_refuses_damaged_files_by_name(nifti, spoil, said):
    path = nifti("bad.nii.gz")
    spoil(path)
    with pytest.raises(UserError, match=rf"bad\.nii\.gz .*{said}") as refused:
        volumes.read((path,))
    assert "\n" not in str(refused.value)


def _with(value, count):
    array = np.random.default_rng(0).random((4, 5, 6))
    array.flat[:count] = value
    return array


RGB = np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])


@pytest.mark.parametrize(
    ("array", "dtype", "said"),
    [
        (np.ones((6, 7)), np.float32, "2D image of 6x7"),
        (np.ones((6, 7, 1)), np.float32, "2D image of 6x7 voxels"),
        (RGB, RGB.dtype, "RGB"),
        (_with(1, 1), np.complex64, "complex"),
        (_with(np.nan, 3), np.float32, "holds 3 voxels that are NaN"),
        (_with(-np.inf, 2), np.float32, "holds 2 voxels that are NaN or infinite"),
        (_with(7, 120), np.float32, "is constant: every voxel is 7"),
    ],
)
def test_refuses_what_is_no_volume(nifti, array, dtype, said):
    with pytest.raises(UserError, match=rf"bad\.nii\.gz .*{said}"):
        volumes.read((nifti("bad.nii.gz", array, dtype=dtype),))


def test_refuses_a_singular_affine(nifti):
    flat = np.eye(4)
    flat[:3, 2] = flat[:3, 1]
    with pytest.raises(UserError, match=r"bad\.nii\.gz has a singular affine"):
        volumes.read((nifti("bad.nii.gz", affine=flat),))


def test_modalities_share_one_grid(nifti):
    near, far = np.eye(4), np.eye(4)
    near[0, 3], far[0, 0] = 0.05, 1.05
    first = nifti("a.nii.gz")
    assert volumes.read((first, nifti("b.nii.gz", affine=near))).array.shape == (6, 7, 8, 2)
    with pytest.raises(UserError, match=r"c\.nii\.gz and .*a\.nii\.gz have affines that differ"):
        volumes.read((first, nifti("c.nii.gz", affine=far)))
    with pytest.raises(UserError, match=r"d\.nii\.gz is 6x7x9 voxels, .* is 6x7x8"):
        volumes.read((first, nifti("d.nii.gz", (6, 7, 9))))


def test_masks_hold_labels_on_the_grid_of_the_image(nifti):
    image = volumes.read((nifti("a.nii.gz"),))
    labels = np.arange(6 * 7 * 8).reshape(6, 7, 8) % 3
    mask = volumes.read_mask(nifti("m.nii.gz", labels, dtype=np.uint8), image)
    np.testing.assert_array_equal(mask, labels)
    assert mask.dtype == np.int16
    for array, said in (
        (labels[:5], r"m\.nii\.gz is 5x7x8 voxels, .*a\.nii\.gz is 6x7x8"),
        (labels / 2, "not whole numbers"),
        (labels - 1, "labels from -1 to 1"),
    ):
        with pytest.raises(UserError, match=said):
            volumes.read_mask(nifti("m.nii.gz", array), image)
