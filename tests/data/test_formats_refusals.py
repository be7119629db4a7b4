"""What no format may give: damaged, lying or pointless files, each refused in one sentence."""

import os
import pickle
import re
import struct
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from rubik_jax.data import volumes
from rubik_jax.errors import UserError

VOXELS = np.random.default_rng(0).integers(-500, 900, (8, 9, 10)).astype(np.int16)
NAMES = ("a.nii", "a.nii.gz", "a.hdr", "a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.npy", "a.npz")
PACKED = ("a.nii.gz", "a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.npz")
AFFINE = np.diag([2.0, 3, 4, 1])


def write(path, voxels=VOXELS, *, packed=True, affine=AFFINE):
    """A volume in the format of the name; returns the file that holds the voxels."""
    end = path.name.partition(".")[2]
    if end in ("nii", "nii.gz", "hdr"):
        kind = nib.Nifti1Pair if end == "hdr" else nib.Nifti1Image
        nib.save(kind(voxels, affine), path)
    elif end == "npy":
        np.save(path, voxels)
    elif end == "npz":
        (np.savez_compressed if packed else np.savez)(path, voxels)
    else:
        image = SimpleITK.GetImageFromArray(np.moveaxis(voxels, (0, 1, 2), (2, 1, 0)))
        image.SetSpacing(np.diag(affine)[:3])
        SimpleITK.WriteImage(image, path, packed)
    beside = [file for file in path.parent.iterdir() if file != path]
    return beside[0] if beside else path


def refused(path, capfd, **how):
    """The sentence with which a file is refused; no library adds a word of its own."""
    capfd.readouterr()
    with pytest.raises(UserError) as caught:
        volumes.read((path,), **how)
    said = str(caught.value)
    assert said.startswith((str(path), "channel")) and "\n" not in said
    assert capfd.readouterr() == ("", "")
    return said.removeprefix(str(path))


@pytest.mark.parametrize("share", [0.98, 0.5])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_refuses_what_is_cut_short(tmp_path, capfd, name, packed, share):
    data = write(tmp_path / name, packed=packed)
    content = data.read_bytes()
    data.write_bytes(content[: int(len(content) * share)])
    said = refused(tmp_path / name, capfd)
    assert re.search("cut short|cannot be read as NumPy|no .npz file", said)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", PACKED)
def test_refuses_flipped_bits_that_a_checksum_tells(tmp_path, capfd, name, place):
    data = write(tmp_path / name)
    content = bytearray(data.read_bytes())
    at = int(len(content) * place)
    content[at : at + 3] = bytes(255 - byte for byte in content[at : at + 3])
    data.write_bytes(content)
    assert re.search("is damaged", refused(tmp_path / name, capfd))


def _promising(name, content, size):
    """The file with another size in its header."""
    if "nii" in name or name == "a.hdr":
        return content[:42] + struct.pack("<3h", *size) + content[48:]
    old, new = (" ".join(map(str, shape)).encode() for shape in (VOXELS.shape, size))
    if name.endswith(".npy"):
        old, new = (str(shape).encode() for shape in (VOXELS.shape, tuple(size)))
        return content.replace(old, new).replace(b" " * (len(new) - len(old)) + b"\n", b"\n", 1)
    assert old in content
    return content.replace(old, new)


@pytest.mark.parametrize("size", [(30000, 30000, 30000), (900, 900, 900)])
@pytest.mark.parametrize("name", ["a.nii", "a.hdr", "a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.npy"])
def test_a_header_that_promises_too_much_takes_no_memory(tmp_path, capfd, name, size):
    write(tmp_path / name)
    path = tmp_path / name
    path.write_bytes(_promising(name, path.read_bytes(), size))
    refused(path, capfd)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha", "a.npy", "a.npz"])
@pytest.mark.parametrize(
    ("voxels", "said"),
    [
        (np.where(VOXELS > 890, np.nan, VOXELS).astype(np.float32), r"holds \d+ voxels that are"),
        (np.where(VOXELS > 890, np.inf, VOXELS).astype(np.float32), r"holds \d+ voxels that are"),
        (np.full((4, 5, 6), 7, np.int16), "is constant: every voxel is 7"),
        (VOXELS[..., :1], "is a 2D image of 8x9 voxels"),
        (np.stack([VOXELS] * 2, -1), "is a 4D series of 8x9x10x2 voxels"),
        (VOXELS.astype(np.complex64), "holds complex values|is a 4D series of 8x9x10x2"),
    ],
)
def test_refuses_what_nobody_can_train_on(tmp_path, capfd, name, voxels, said):
    path = tmp_path / name
    if voxels.ndim == 4 and name in ("a.nrrd", "a.mha"):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels.transpose(2, 1, 0, 3), True), path)
    else:
        write(path, voxels)
    assert re.search(said, refused(path, capfd))


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
@pytest.mark.parametrize(
    ("edges", "said"), [((1, 1, 500), "voxels of 1 x 1 x 500 mm"), ((1e-5, 1, 1), "1e-05 x 1 x 1")]
)
def test_refuses_edges_that_nobody_means(tmp_path, capfd, name, edges, said):
    write(tmp_path / name, affine=np.diag([*edges, 1.0]))
    assert said in refused(tmp_path / name, capfd)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("a.nrrd", b"(2,0,0)", b"(0,0,0)", "voxels of 0 x 3 x 4 mm"),
        ("a.nrrd", b"(2,0,0)", b"(0,2,0)", "singular affine"),
        ("a.nrrd", b"(2,0,0)", b"(nan,0,0)", "cannot be read as NRRD"),
        ("a.nrrd", b"space: left", b"spice: left", "has no space, so left and right"),
        ("a.nrrd", b"type: short", b"type: shirt", "cannot be read as NRRD"),
        ("a.mha", b"ElementSpacing = 2", b"ElementSpacing = 0", "voxels of 0 x 3 x 4 mm"),
        ("a.mha", b"TransformMatrix = 1 0 0 0 1", b"TransformMatrix = 1 0 0 1 0", "singular"),
        ("a.mha", b"NDims = 3", b"NDims = 300", "a damaged header: NDims is '300'"),
        ("a.mha", b"DimSize = 8 9 10", b"DimSize = 8 9", "a damaged header: NDims is '3', DimSize"),
        ("a.mha", b"MET_SHORT", b"MET_SHIRT", "cannot be read as MetaImage"),
        ("a.nhdr", b"data file: a", b"data file: z", "the file of its voxels, which is missing"),
        ("a.mhd", b"ElementDataFile = a", b"ElementDataFile = z", "which is missing"),
        ("a.nii", b"n+1", b"xxx", "is an Analyze 7.5 header"),
    ],
)
def test_refuses_headers_that_make_no_sense(tmp_path, capfd, name, old, new, said):
    write(tmp_path / name)
    path = tmp_path / name
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))
    assert said in refused(path, capfd)


def _field(name, *values):
    def edit(header):
        header[name][0] = values if len(values) > 1 else values[0]

    return edit


def _flat(header):
    header["srow_x"][0, :2] = header["srow_y"][0, :2] = 1


def _qform(header, *edges):
    header["sform_code"], header["qform_code"] = 0, 1
    header["pixdim"][0, 1 : 1 + len(edges)] = edges


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda header: _qform(header, 0, 1, 1), "voxels of 0 x 1 x 1 mm"),
        (lambda header: _qform(header, 900, 1, 1), "voxels of 900 x 1 x 1 mm"),
        (_flat, "has a singular affine"),
        (_field("srow_x", np.nan, 0, 0, 0), "has an affine that is not finite"),
        (_field("sform_code", 0), "has no affine"),
        (_field("datatype", 9999), "cannot be read as NIfTI: data code 9999 not recognized"),
        (_field("dim", 3, -8, 9, 10, 1, 1, 1, 1), "a size of -8x9x10 voxels"),
        (_field("vox_offset", 1e9), "promises"),
        (_field("scl_inter", np.inf), "cannot be read as NIfTI: "),
    ],
)
def test_refuses_nifti_headers_that_make_no_sense(tmp_path, capfd, edit, said):
    path = tmp_path / "a.nii"
    write(path)
    content = bytearray(path.read_bytes())
    header = np.frombuffer(content, nib.Nifti1Header.template_dtype, 1)
    header["qform_code"] = 0
    edit(header)
    path.write_bytes(content)
    assert re.search(said, refused(path, capfd))


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("the file's code was run",)


def _pickled(path):
    np.save(path.with_suffix(".npy"), np.array([Bomb()], object))
    path.with_suffix(".npy").rename(path)


def _archive(path, **arrays):
    np.savez(path.with_suffix(".npz"), **arrays)
    path.with_suffix(".npz").rename(path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "does not exist or is a link to nothing"),
        (lambda path: path.symlink_to("gone.nii"), "does not exist or is a link to nothing"),
        (lambda path: path.mkdir(), "is a folder without DICOM slices"),
        (lambda path: os.mkfifo(path), "is no regular file"),
        (lambda path: path.write_bytes(b""), "is an empty file"),
        (lambda path: path.write_text("case,class\na,1\n" * 99), "is of no known format"),
        (lambda path: path.write_bytes(b"\x1f\x8b" + bytes(99)), "is damaged or cut short: "),
        (lambda path: path.write_bytes(pickle.dumps(Bomb())), "is of no known format"),
        (_pickled, "cannot be read as NumPy array: .*Python objects"),
        (
            lambda path: _archive(path, a=np.array([Bomb()], object)),
            "no .npz file of plain .*Python objects",
        ),
        (lambda path: _archive(path, a=VOXELS, b=VOXELS), r"a \[8, 9, 10\], b .*one"),
        (lambda path: _archive(path, a=VOXELS, spacing=[1, 2]), "spacing in .*expected"),
    ],
)
def test_refuses_what_is_no_volume_at_all(tmp_path, capfd, make, said):
    path = tmp_path / "bad.vol"
    make(path)
    capfd.readouterr()
    with pytest.raises(UserError, match=said) as caught:
        volumes.read((path,))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha", "a.dcm"])
def test_refuses_what_may_not_be_read(tmp_path, name):
    """In a process of its own, which gives up the rights of root for good."""
    path = tmp_path / name
    path.write_bytes(b"anything")
    path.chmod(0)
    read = (
        "import os, pathlib\n"
        "from rubik_jax.data import volumes\n"
        "if os.geteuid() == 0: os.seteuid(65534)\n"
        f"volumes.read((pathlib.Path({str(path)!r}),))"
    )
    run = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, check=False)
    assert f"UserError: {path} cannot be read: Permission denied" in run.stderr
