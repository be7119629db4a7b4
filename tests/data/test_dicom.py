"""A series of slices is one volume in the place that ITK gives it, or is refused for a reason."""

import itertools
import locale

import numpy as np
import pytest
import SimpleITK

from rubik_jax.data import formats, volumes, writing
from rubik_jax.data.digests import Digests
from rubik_jax.data.identity import digest_of
from rubik_jax.errors import UserError

VOXELS = np.random.default_rng(0).integers(-500, 900, (6, 5, 4)).astype(np.int16)  # [z, y, x]
SPACING = (0.7, 0.9, 2.5)
ORIGIN = (-31.5, 12.25, 80.0)


def _turned(degrees, axes=(0, 1, 2)):
    """Columns of direction, turned about two axes; right-handed, as slices make it."""
    a = np.deg2rad(degrees)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turned = (about_z @ about_x)[:, axes]
    return turned * (1, 1, np.linalg.det(turned))


DIRECTIONS = {
    "axial": _turned(0),
    "flipped": np.diag([-1.0, 1.0, -1.0]),
    "sagittal": _turned(0, (1, 2, 0)),
    "coronal": _turned(0, (0, 2, 1)),
    "oblique": _turned(25),
    "oblique sagittal": _turned(20, (1, 2, 0)),
}


def _write(image, path):
    """As ITK writes it; its writer leaves the process in a locale where Python's text is ASCII."""
    kept = locale.setlocale(locale.LC_ALL)
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetImageIO("GDCMImageIO")
    writer.SetFileName(str(path))
    writer.Execute(image)
    locale.setlocale(locale.LC_ALL, kept)


def write(folder, voxels=VOXELS, *, direction=DIRECTIONS["axial"], names=str, **tags):
    """A slice per file by ITK; `tags` are values, or functions of the slice's number."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(len(voxels)):
        place = np.add(ORIGIN, direction[:, 2] * SPACING[2] * k)
        said = {
            "0008|0018": f"1.2.3.{k}",
            "0008|0060": "MR",
            "0018|0050": SPACING[2],
            "0020|000d": "1.2",
            "0020|000e": "1.2.3",
            "0020|0032": "\\".join(f"{x:.8f}" for x in place),
            "0020|0037": "\\".join(f"{x:.10f}" for x in direction.T[:2].ravel()),
            "0028|0030": f"{SPACING[1]}\\{SPACING[0]}",
        }
        image = SimpleITK.GetImageFromArray(voxels[k], isVector=voxels.ndim == 4)
        image.SetSpacing(SPACING[:2])
        for tag, value in (said | {t.replace("_", "|")[1:]: v for t, v in tags.items()}).items():
            image.SetMetaData(tag, str(value(k) if callable(value) else value))
        _write(image, folder / (f"{k}.dcm" if names is str else names(k)))
    return folder


def by_itk(folder):
    found = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    return SimpleITK.ReadImage(found)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_voxels_lie_where_itk_has_them(tmp_path, direction):
    folder = write(tmp_path / "s", direction=DIRECTIONS[direction])
    scan, theirs = formats.open_scan(folder), by_itk(folder)
    assert (scan.kind, scan.shape, scan.dtype) == ("DICOM", (4, 5, 6), np.int16)
    voxels = scan.voxels()
    for index in itertools.product(*((0, n - 1) for n in scan.shape)):
        lps = theirs.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(
            (scan.affine @ (*index, 1))[:3], np.multiply(lps, (-1, -1, 1)), atol=1e-4
        )
        assert voxels[index] == theirs[index] == VOXELS[index[::-1]]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_mask_is_written_on_the_grid_of_the_series(tmp_path, direction):
    folder = write(tmp_path / "s", direction=DIRECTIONS[direction])
    labels = (volumes.read((folder,)).array[..., 0] > 0).astype(np.uint8) * 3
    writing.write_mask(tmp_path / "m.nii.gz", labels, folder)
    theirs, ours = by_itk(folder), SimpleITK.ReadImage(tmp_path / "m.nii.gz")
    assert ours.GetSize() == theirs.GetSize()
    for what in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(ours, what)(), getattr(theirs, what)(), atol=1e-4)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(ours), (VOXELS > 0) * 3)


def test_names_order_and_suffixes_of_the_files_do_not_matter(tmp_path):
    plain = formats.open_scan(write(tmp_path / "a"))
    mixed = write(tmp_path / "b", names=lambda k: f"IM_{(k * 5) % 6}")
    (mixed / "README").write_text("not a slice")
    (mixed / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (mixed / "._IM_1").write_bytes(bytes(128) + b"DICM")
    other = formats.open_scan(mixed)
    np.testing.assert_array_equal(other.affine, plain.affine)
    np.testing.assert_array_equal(other.voxels(), plain.voxels())
    assert len(formats.files(mixed)) == 6


def test_slope_and_intercept_apply_slice_by_slice(tmp_path):
    even = VOXELS - VOXELS % 2
    stored = write(tmp_path / "s", even, _0028_1052=-1024, _0028_1053=lambda k: 1 + k % 2)
    raw = (stored / "1.dcm").read_bytes()[-40:]
    assert np.frombuffer(raw, np.int16)[0] == (even[1, 0, 0] + 1024) // 2
    scan = formats.open_scan(stored)
    np.testing.assert_array_equal(scan.voxels().T, even)


def test_a_series_without_uid_is_told_by_its_grid(tmp_path):
    folder = write(tmp_path / "s", _0020_000e="")
    np.testing.assert_array_equal(formats.open_scan(folder).voxels().T, VOXELS)
    write(folder, VOXELS[:3, :4], _0020_000e="", names=lambda k: f"scout{k}")
    with pytest.raises(UserError, match=r"holds 2 DICOM series \(0\.dcm: 6 of 4x5, scout0: 3 of"):
        formats.open_scan(folder)


def test_of_several_series_any_file_chooses_its_own(tmp_path):
    folder = write(tmp_path / "s", _0008_103e="T1 axial")
    write(folder, VOXELS[::-1], names=lambda k: f"b{k}", _0020_000e="9.9", _0008_103e="T2")
    with pytest.raises(UserError, match=r"2 DICOM series .*'T1 axial': 6 of 4x5, b0 'T2'.*choose"):
        formats.open_scan(folder)
    assert formats.find(tmp_path) == [folder / "0.dcm", folder / "b0"]
    for chosen, expected in (("0.dcm", VOXELS), ("3.dcm", VOXELS), ("b4", VOXELS[::-1])):
        np.testing.assert_array_equal(formats.open_scan(folder / chosen).voxels().T, expected)
        assert len(formats.files(folder / chosen)) == 6


def test_folders_of_folders_hold_what_lies_below(tmp_path):
    first = write(tmp_path / "patient" / "study" / "1")
    assert formats.find(tmp_path) == [first]
    np.testing.assert_array_equal(formats.open_scan(tmp_path / "patient").voxels().T, VOXELS)
    second = write(tmp_path / "patient" / "study" / "2")
    assert formats.find(tmp_path) == [first, second]
    with pytest.raises(UserError, match=r"holds 2 DICOM series \(study/1/0\.dcm: 6 of 4x5"):
        formats.open_scan(tmp_path / "patient")


def test_a_folder_is_another_once_a_slice_of_it_is(tmp_path):
    """Wherever below it the slices lie; what else lies there is no part of it."""

    def digest(folder):
        return digest_of(folder, None, Digests(tmp_path, keep=False))

    write(tmp_path / "p" / "study")
    known = digest(tmp_path / "p")
    (tmp_path / "p" / "report.txt").write_text("no slice")
    assert digest(tmp_path / "p") == known
    (tmp_path / "p").rename(tmp_path / "q")
    assert digest(tmp_path / "q") == known
    write(tmp_path / "q" / "study", VOXELS + 1)
    assert digest(tmp_path / "q") != known


def test_a_file_of_many_frames_is_a_volume(tmp_path):
    image = SimpleITK.GetImageFromArray(VOXELS)
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    image.SetDirection(DIRECTIONS["oblique"].ravel())
    image.SetMetaData("0008|0060", "MR")
    (tmp_path / "s").mkdir()
    _write(image, tmp_path / "s" / "m.dcm")
    for path in (tmp_path / "s", tmp_path / "s" / "m.dcm"):
        scan = formats.open_scan(path)
        np.testing.assert_array_equal(scan.voxels().T, VOXELS)
        lps = image.TransformIndexToPhysicalPoint((3, 4, 5))
        np.testing.assert_allclose(
            (scan.affine @ (3, 4, 5, 1))[:3], np.multiply(lps, (-1, -1, 1)), atol=1e-4
        )


def test_a_tilted_gantry_is_told_by_the_affine(tmp_path):
    tilted = [np.add(ORIGIN, (0, 0.4 * k, SPACING[2] * k)) for k in range(6)]
    folder = write(tmp_path / "s", _0020_0032=lambda k: "\\".join(map(str, tilted[k])))
    scan = formats.open_scan(folder)
    for k in range(6):
        found = (scan.affine @ (0, 0, k, 1))[:3]
        np.testing.assert_allclose(found, tilted[k] * np.array((-1, -1, 1)), atol=1e-4)


def _doubled(folder):
    write(folder, names=lambda k: f"echo2_{k}")


def _without_place(folder):
    for path in folder.iterdir():
        content = path.read_bytes().replace(b"\x20\0\x32\0", b"\x20\0\x33\0")
        path.write_bytes(content)


def _frames_without_place(folder):
    for path in folder.iterdir():
        path.unlink()
    frames = SimpleITK.GetImageFromArray(VOXELS.astype(np.uint8))
    _write(frames, folder / "frames.dcm")


def _cut(folder):
    path = folder / "2.dcm"
    path.write_bytes(path.read_bytes()[:-20])


def _text(folder):
    (folder / "2.dcm").write_text("no slice" * 99)


def _colour(folder):
    for path in folder.iterdir():
        path.unlink()
    write(folder, np.random.default_rng(0).integers(0, 255, (6, 5, 4, 3)).astype(np.uint8))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "2.dcm").unlink(), r"1\.dcm and 3\.dcm are 5 mm apart, .* 2\.5"),
        (lambda folder: (folder / "1.dcm").unlink(), r"0\.dcm and 2\.dcm are 5 mm apart, .* 2\.5"),
        (_doubled, r"12 slices, 6 of them at the position of another \(0\.dcm and echo2_0\)"),
        (_without_place, r"0\.dcm has no position or orientation"),
        (_frames_without_place, r"frames\.dcm says nothing of its place"),
        (_cut, r"2\.dcm is damaged, or a DICOM file without an image"),
        (_text, r"2\.dcm is damaged, or a DICOM file without an image"),
        (lambda folder: [p.unlink() for p in folder.iterdir()], "is a folder without DICOM slices"),
        (lambda folder: [p.unlink() for p in folder.glob("[1-9]*")], "is a 2D image of 4x5"),
        (_colour, "is a 4D series of 4x5x6x3 voxels"),
    ],
)
def test_refuses_what_is_no_whole_series(tmp_path, spoil, said):
    folder = write(tmp_path / "s")
    spoil(folder)
    with pytest.raises(UserError, match=said) as refused:
        volumes.read((folder,))
    assert str(tmp_path) in str(refused.value) and "\n" not in str(refused.value)
