"""The reader's orientation, and everything it must refuse."""

import gzip
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

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


def test_any_orientation_can_be_asked_for(nifti):
    path = nifti("a.nii.gz", affine=np.diag([-2.0, 3, 4, 1]))
    ras, psl = volumes.read((path,)), volumes.read((path,), orientation="PSL")
    assert nib.aff2axcodes(psl.affine) == ("P", "S", "L")
    np.testing.assert_array_equal(psl.array, ras.array.transpose(1, 2, 0, 3)[::-1, :, ::-1])
    np.testing.assert_allclose(psl.affine @ (1, 2, 3, 1), ras.affine @ (2, 5, 2, 1))
    labels = nifti("m.nii.gz", ras.array[..., 0] > 50, ras.affine, np.uint8)
    mask = volumes.read_mask(labels, psl, orientation="PSL")
    np.testing.assert_array_equal(mask, psl.array[..., 0] > 50)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [(("u1",), "u1"), (("i2", "i2"), "i2"), (("u1", "i2"), "f4"), (("f8",), "f8")],
)
def test_numbers_stay_as_stored_where_all_modalities_agree(nifti, kinds, expected):
    files = [nifti(f"{i}.nii", dtype=np.dtype(kind)) for i, kind in enumerate(kinds)]
    read = volumes.read(files)
    assert read.array.dtype == np.dtype(expected)
    for channel, file in enumerate(files):
        np.testing.assert_array_equal(read.array[..., channel], nib.load(file).get_fdata())
        assert read.scans[channel].dtype == np.dtype(kinds[channel])


def test_a_missing_modality_is_a_channel_of_zeros(nifti):
    file = nifti("a.nii.gz", affine=np.diag([-2.0, 3, 4, 1]))
    alone, read = volumes.read((file,)), volumes.read((None, file, None))
    np.testing.assert_array_equal(read.array[..., 1:2], alone.array)
    assert not read.array[..., ::2].any()
    assert [scan is None for scan in read.scans] == [True, False, True]
    np.testing.assert_array_equal(read.affine, alone.affine)
    labels = nifti("m.nii.gz", alone.array[..., 0] > 50, alone.affine, np.uint8)
    assert volumes.read_mask(labels, read).shape == (6, 7, 8)


def test_modalities_may_lie_in_different_formats_and_turns(nifti, tmp_path):
    first = nifti("a.nii.gz", affine=np.diag([-2.0, 3, 4, 1]))
    scan = nib.load(first)
    image = SimpleITK.GetImageFromArray(scan.get_fdata(dtype=np.float32).T)
    image.SetSpacing((2, 3, 4))
    image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
    SimpleITK.WriteImage(image, tmp_path / "b.nrrd")
    turned = scan.as_reoriented([(2, 1), (0, -1), (1, 1)])
    np.savez(tmp_path / "c.npz", image=turned.get_fdata(dtype=np.float32), affine=turned.affine)
    read = volumes.read((first, tmp_path / "b.nrrd", tmp_path / "c.npz"))
    assert [scan.kind for scan in read.scans] == ["NIfTI", "NRRD", "NumPy"]
    for channel in (1, 2):
        np.testing.assert_array_equal(read.array[..., channel], read.array[..., 0])


def test_reading_takes_no_more_memory_than_twice_the_volume(nifti):
    path = nifti("a.nii.gz", np.random.default_rng(0).integers(0, 99, (64, 64, 64)), dtype=np.int16)
    volumes.read((path,))
    for images, most in (((path,), 1.5), ((path,) * 4, 2.1)):
        tracemalloc.start()
        array = volumes.read(images).array
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most * array.nbytes + 2**20


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
        (labels * 20000, "labels from 0 to 40000: expected 0 to 32767"),
    ):
        with pytest.raises(UserError, match=said):
            volumes.read_mask(nifti("m.nii.gz", array), image)
    moved = np.eye(4)
    moved[0, 3] = 1
    with pytest.raises(UserError, match="have affines that differ by up to 1 mm"):
        volumes.read_mask(nifti("m.nii.gz", labels, moved), image)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.int32])
def test_masks_hold_the_labels_that_their_source_declares(nifti, dtype):
    image = volumes.read((nifti("a.nii.gz"),))
    labels = np.arange(6 * 7 * 8).reshape(6, 7, 8) % 4 * 3
    path = nifti("m.nii", labels, dtype=dtype)
    np.testing.assert_array_equal(volumes.read_mask(path, image, values=(0, 3, 6, 9, 12)), labels)
    with pytest.raises(UserError, match=r"holds the labels \[6, 9\], .* expected \[0, 1, 3\]"):
        volumes.read_mask(path, image, values=(3, 1, 0))
    assert not volumes.read_mask(nifti("m.nii", labels * 0, dtype=dtype), image).any()
