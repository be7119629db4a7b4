"""NumPy's files are read as NumPy reads them, and what it would evaluate is refused."""

import io

import numpy as np
import pytest

from rubik_jax.data import npy


def file(array, version=None) -> io.BytesIO:
    content = io.BytesIO()
    np.lib.format.write_array(content, array, version=version)
    content.seek(0)
    return content


def with_header(text: str, elements: bytes = b"") -> io.BytesIO:
    return io.BytesIO(
        npy.MAGIC + b"\1\0" + len(text).to_bytes(2, "little") + text.encode() + elements
    )


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("kind", ["<f2", ">f8", "i2", "?", "c8", "u1", "<U5", "S3", "M8[ns]"])
@pytest.mark.parametrize("shape", [(), (0,), (7,), (2, 0, 3), (2, 3, 4)])
def test_arrays_come_back(tmp_path, kind, shape, version):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(kind)
    for order in "CF":
        ordered = np.asarray(array, order=order)
        content = file(ordered, version)
        (tmp_path / "a.npy").write_bytes(content.getvalue())
        for found in (npy.read(content), npy.mapped(tmp_path / "a.npy")):
            np.testing.assert_array_equal(found, array)
            assert found.dtype == array.dtype
            assert found.flags.f_contiguous == ordered.flags.f_contiguous


@pytest.mark.parametrize(
    "header",
    [
        '{"shape": (2L, 1), "descr": "<i2", "fortran_order": False}',
        "{'descr':'<i2','fortran_order':False,'shape':(2,1)}",
        "  {'fortran_order': False, 'shape': (2, 1,), 'descr': '<i2', }   \n",
    ],
)
def test_headers_of_other_writers_are_read(header):
    assert npy.read(with_header(header, b"\1\0\2\0")).tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (file(np.array([None], object)), "Python objects"),
        (file(np.zeros(2, [("a", "<f4"), ("b", "O")])), "of records, expected one number a voxel"),
        (with_header("{'descr': 'i4,O', 'fortran_order': False, 'shape': (2,), }"), "no type"),
        (with_header("{'descr': 'q9', 'fortran_order': False, 'shape': (2,), }"), "no type"),
        (with_header("{'descr': '<i2', 'fortran_order': False, 'shape': (-2,), }"), "no array's"),
        (with_header("{'descr': '<i2', 'descr': '<i2', 'shape': (2,), }"), "no array's"),
        (with_header("{'descr': '<i2', 'shape': (2,), }"), "no array's"),
        (with_header("__import__('os').abort()"), "no array's"),
        (io.BytesIO(npy.MAGIC + b"\2\0\xff\xff\xff\xff"), "damaged header"),
        (io.BytesIO(npy.MAGIC + b"\1\0\x76\0{'descr'"), "no array's"),
        (io.BytesIO(npy.MAGIC + b"\7\0"), "does not begin"),
        (io.BytesIO(b"PK"), "does not begin"),
        (io.BytesIO(), "does not begin"),
    ],
)
def test_what_is_no_plain_array_is_refused(content, words):
    content.seek(0)
    with pytest.raises(ValueError, match=words):
        npy.read(content)


def test_what_is_cut_short_is_refused(tmp_path):
    content = file(np.arange(9)).getvalue()[:-1]
    with pytest.raises(EOFError, match="71 of 72 bytes"):
        npy.read(io.BytesIO(content))
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(EOFError, match=f"{len(content)} of {len(content) + 1} bytes"):
        npy.mapped(tmp_path / "a.npy")
