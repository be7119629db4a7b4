"""Every format lies in the world where an independent reader has it, whatever its name."""

import gzip
import itertools
import zlib

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from rubik_jax.data import formats
from rubik_jax.data.cases import stem
from rubik_jax.errors import UserError
from tests.affines import turned

VOXELS = np.random.default_rng(0).integers(-500, 900, (4, 5, 6)).astype(np.int16)  # [x, y, z]


GRIDS = {
    "RAS": turned(0, "RAS"),
    "LAS": turned(0, "LAS"),
    "LPI": turned(0, "LPI"),
    "PSR": turned(0, "PSR"),
    "oblique": turned(25, "RAS"),
    "oblique SLA": turned(20, "SLA"),
}
TO_LPS = np.diag([-1.0, -1, 1])


def by_itk(path, grid, *, packed=True, voxels=VOXELS):
    """Writes a volume on the grid by ITK."""
    image = SimpleITK.GetImageFromArray(voxels.T)
    edges = np.linalg.norm(grid[:3, :3], axis=0)
    image.SetSpacing(edges)
    image.SetDirection((TO_LPS @ (grid[:3, :3] / edges)).ravel())
    image.SetOrigin(TO_LPS @ grid[:3, 3])
    path.parent.mkdir(exist_ok=True)
    SimpleITK.WriteImage(image, path, packed)
    return path


def by_nibabel(path, grid, kind=nib.Nifti1Image, order="<", sform=2, qform=0):
    header = kind.header_class(endianness=order)
    header.set_data_dtype(VOXELS.dtype.newbyteorder(order))
    image = kind(VOXELS, None, header)
    image.set_sform(grid if sform else None, code=sform)
    image.set_qform(grid if qform else None, code=qform)
    path.parent.mkdir(exist_ok=True)
    image.to_filename(path)
    return path


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
@pytest.mark.parametrize("grid", GRIDS)
def test_nrrd_and_metaimage_lie_where_itk_has_them(tmp_path, grid, name, packed):
    path = by_itk(tmp_path / name, GRIDS[grid], packed=packed)
    scan, theirs = formats.open_scan(path), SimpleITK.ReadImage(path)
    assert scan.kind == ("NRRD" if name.startswith("a.n") else "MetaImage")
    assert (scan.shape, scan.dtype) == ((4, 5, 6), np.int16)
    np.testing.assert_array_equal(scan.voxels(), VOXELS)
    assert scan.voxels().dtype == np.int16
    for index in itertools.product(*((0, n - 1) for n in scan.shape)):
        lps = theirs.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose((scan.affine @ (*index, 1))[:3], TO_LPS @ lps, atol=1e-9)
        assert scan.voxels()[index] == theirs[index]


@pytest.mark.parametrize("forms", [(2, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (nib.Nifti1Image, "a.nii"),
        (nib.Nifti1Image, "a.nii.gz"),
        (nib.Nifti2Image, "a.nii.gz"),
        (nib.Nifti1Pair, "a.hdr"),
        (nib.Nifti2Pair, "a.hdr"),
        (nib.Nifti1Pair, "a.hdr.gz"),
    ],
)
def test_nifti_of_any_make_lies_where_nibabel_has_it(tmp_path, kind, name, order, forms):
    for number, grid in enumerate(GRIDS.values()):
        path = by_nibabel(tmp_path / str(number) / name, grid, kind, order, *forms)
        scan = formats.open_scan(path)
        np.testing.assert_allclose(scan.affine, nib.load(path).affine, atol=1e-9)
        np.testing.assert_allclose(scan.affine, grid, atol=1e-4)
        assert (scan.kind, scan.shape) == ("NIfTI", (4, 5, 6))
        voxels = scan.voxels()
        assert voxels.dtype == np.int16 and voxels.dtype.isnative
        np.testing.assert_array_equal(voxels, VOXELS)
        image = path.with_name(name.replace("hdr", "img"))
        np.testing.assert_array_equal(formats.open_scan(image).voxels(), VOXELS)
        assert formats.files(image) == sorted({path, image})


def test_sform_goes_before_qform_and_units_count(tmp_path):
    image = nib.Nifti1Image(VOXELS, None)
    image.set_sform(GRIDS["oblique"], code=1)
    image.set_qform(GRIDS["PSR"], code=1)
    for unit, edge in (("mm", 1), ("unknown", 1), ("meter", 1000), ("micron", 0.001)):
        image.header.set_xyzt_units(unit)
        nib.save(image, tmp_path / "a.nii")
        found = formats.open_scan(tmp_path / "a.nii").affine
        np.testing.assert_allclose(found[:3], GRIDS["oblique"][:3] * edge, rtol=1e-5)


def test_slope_and_intercept_of_nifti_make_float32(tmp_path):
    path = by_nibabel(tmp_path / "a.nii", GRIDS["RAS"])
    content = bytearray(path.read_bytes())
    header = np.frombuffer(content, nib.Nifti1Header.template_dtype, 1)
    for slope, inter in ((0.5, -100), (1, 3), (2, 0)):
        header["scl_slope"], header["scl_inter"] = slope, inter
        path.write_bytes(content)
        voxels = formats.open_scan(path).voxels()
        assert voxels.dtype == np.float32
        np.testing.assert_array_equal(voxels, nib.load(path).get_fdata())


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (-1, -1, 1)),
        ("right-anterior-superior", (1, 1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
        ("LPS", (-1, -1, 1)),
        ("RAS", (1, 1, 1)),
        ("LAS", (-1, 1, 1)),
    ],
)
def test_the_space_of_nrrd_says_what_its_numbers_mean(tmp_path, space, signs):
    columns = GRIDS["oblique SLA"][:3]
    vectors = ["({})".format(",".join(map(repr, column.tolist()))) for column in columns.T]
    header = (
        "NRRD0004\ntype: short\ndimension: 3\n"
        f"space: {space}\nsizes: 4 5 6\nspace directions: {' '.join(vectors[:3])}\n"
        f"endian: big\nencoding: raw\nspace origin: {vectors[3]}\n\n"
    )
    content = header.encode() + VOXELS.astype(">i2").tobytes(order="F")
    (tmp_path / "a.nrrd").write_bytes(content)
    scan = formats.open_scan(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(scan.voxels(), VOXELS)
    np.testing.assert_allclose(scan.affine[:3], np.diag(signs) @ columns, atol=1e-9)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("order", "<>")
def test_either_byte_order_is_read_in_itk(tmp_path, order, packed):
    content = VOXELS.astype(f"{order}i2").tobytes(order="F")
    nrrd = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: LPS\nsizes: 4 5 6\n"
        f"endian: {'big' if order == '>' else 'little'}\n"
        f"encoding: {'gzip' if packed else 'raw'}\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(
        nrrd.encode() + (gzip.compress(content) if packed else content)
    )
    stored = zlib.compress(content) if packed else content
    meta = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\n"
        f"BinaryDataByteOrderMSB = {order == '>'}\n"
        f"CompressedData = {packed}\nCompressedDataSize = {len(stored)}\nDimSize = 4 5 6\n"
        "ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    (tmp_path / "a.mha").write_bytes(meta.encode() + stored)
    for name in ("a.nrrd", "a.mha"):
        theirs = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(tmp_path / name)).T
        ours = formats.open_scan(tmp_path / name).voxels()
        np.testing.assert_array_equal(theirs, VOXELS)
        np.testing.assert_array_equal(ours, VOXELS)
        assert ours.dtype == np.int16


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
def test_a_name_that_lies_is_not_believed(tmp_path, name):
    path = tmp_path / name
    (by_nibabel if "nii" in name else by_itk)(path, GRIDS["oblique"])
    true = formats.open_scan(path)
    for lie in ("b.dat", "b", "b.nii", "b.nii.gz", "b.nrrd", "b.mha", "b.npy", "b.dcm", "b.hdr"):
        scan = formats.open_scan(path.rename(tmp_path / lie))
        path = tmp_path / lie
        assert scan.kind == true.kind
        np.testing.assert_array_equal(scan.affine, true.affine)
        np.testing.assert_array_equal(scan.voxels(), VOXELS)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_channels_are_the_last_axis_in_itk(tmp_path, name, packed):
    four = np.random.default_rng(1).random((2, 4, 5, 6), np.float32)  # [c, x, y, z]
    vector = SimpleITK.GetImageFromArray(np.moveaxis(four, 0, -1).transpose(2, 1, 0, 3), True)
    SimpleITK.WriteImage(vector, tmp_path / name, packed)
    scan = formats.open_scan(tmp_path / name)
    assert (scan.shape, scan.dtype) == ((4, 5, 6, 2), np.float32)
    np.testing.assert_array_equal(scan.voxels(), np.moveaxis(four, 0, -1))
    series = SimpleITK.GetImageFromArray(four.transpose(0, 3, 2, 1), False)
    SimpleITK.WriteImage(series, tmp_path / name, packed)
    scan = formats.open_scan(tmp_path / name)
    assert scan.shape == (4, 5, 6, 2) and scan.affine.shape == (4, 4)
    np.testing.assert_array_equal(scan.voxels(), np.moveaxis(four, 0, -1))


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", ">f4", "f2", "f8", "?"])
@pytest.mark.parametrize("order", "CF")
def test_arrays_are_read_as_they_are(tmp_path, dtype, order):
    array = np.array(VOXELS > 0 if dtype == "?" else VOXELS, dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", array)
    for name in ("a.npy", "a.npz"):
        scan = formats.open_scan(tmp_path / name)
        assert (scan.kind, scan.shape) == ("NumPy", (4, 5, 6))
        np.testing.assert_array_equal(scan.voxels(), array)
        assert scan.voxels().dtype.isnative and scan.voxels().dtype.kind in "iuf"
        np.testing.assert_array_equal(scan.affine, np.eye(4))


def test_npz_may_say_its_grid_and_which_array_is_the_volume(tmp_path):
    path, grid = tmp_path / "a.npz", GRIDS["oblique"]
    np.savez_compressed(path, whatever=VOXELS, affine=grid)
    np.testing.assert_array_equal(formats.open_scan(path).affine, grid)
    np.savez(path, volume=VOXELS, seg=VOXELS[:2], spacing=[1, 2, 3])
    scan = formats.open_scan(path)
    np.testing.assert_array_equal(scan.affine, np.diag([1.0, 2, 3, 1]))
    np.testing.assert_array_equal(scan.voxels(), VOXELS)


def test_find_lists_what_could_be_a_volume_once(tmp_path):
    expected = [
        by_nibabel(tmp_path / "b" / "s.nii.gz", GRIDS["RAS"]),
        by_nibabel(tmp_path / "b" / "t.hdr", GRIDS["RAS"], nib.Nifti1Pair),
        by_itk(tmp_path / "c" / "u.mhd", GRIDS["RAS"]),
        by_itk(tmp_path / "c" / "V.NRRD", GRIDS["RAS"]),
    ]
    for name in (".hidden.nii", "labels.csv", ".git/x.nii", "b/note"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no volume")
    assert formats.find(tmp_path) == sorted(expected)
    assert [stem(path.name) for path in expected] == ["s", "t", "u", "V"]


def test_detached_voxels_count_among_the_files(tmp_path):
    for name, end in (("a.nhdr", ".raw.gz"), ("b.mhd", ".zraw")):
        path = by_itk(tmp_path / name, GRIDS["RAS"])
        assert formats.files(path) == [path, tmp_path / f"{name[0]}{end}"]
    attached = by_itk(tmp_path / "a.mha", GRIDS["RAS"])
    assert formats.files(attached) == [attached]
    with pytest.raises(UserError, match="does not exist"):
        formats.files(tmp_path / "gone.mha")
