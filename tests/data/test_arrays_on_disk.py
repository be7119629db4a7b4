"""What was saved comes back voxel by voxel, whole or in windows, from either kind of file."""

import resource
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rubik_jax.data import arrays_on_disk
from rubik_jax.errors import UserError

SHAPES = [(70, 33, 20, 2), (5, 9, 3, 1), (40, 30, 70)]


@pytest.fixture(params=[False, True], ids=["plain", "compressed"])
def compress(request):
    if request.param:
        pytest.importorskip("blosc2")
    return request.param


def volume(shape):
    """A ball of noise in an empty background."""
    at = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape[:3]), indexing="ij"))
    inside = (at**2).sum(axis=0) < 0.5
    noise = np.random.default_rng(0).random(shape)
    return (noise * inside[(..., *([None] * (len(shape) - 3)))]).astype(np.float16)


def kept(array, folder, compress):
    path = folder / f"array{arrays_on_disk.suffix(compress=compress)}"
    with path.open("wb") as file:
        arrays_on_disk.save(file, array, compress=compress)
    return path


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float16, np.int16])
def test_windows_are_the_arrays_own(tmp_path, compress, shape, dtype):
    array = (100 * volume(shape)).astype(dtype)
    held = arrays_on_disk.load(kept(array, tmp_path, compress), shape, array.dtype)
    assert held.shape == shape and held.dtype == dtype and held.ndim == len(shape)
    np.testing.assert_array_equal(np.asarray(held), array)
    for where in (np.s_[2:5, 1:9, 0:3], np.s_[1:, :, 2:]):
        np.testing.assert_array_equal(np.array(held[where]), array[where])
    places = np.argwhere(array)[:9]
    axes = tuple(places[:, :3].T)
    np.testing.assert_array_equal(np.asarray(held[axes]), array[axes])
    grown = np.pad(held, [(1, 2)] * array.ndim, mode="edge")
    np.testing.assert_array_equal(grown, np.pad(array, [(1, 2)] * array.ndim, mode="edge"))


def test_threads_read_one_file_at_once(tmp_path, compress):
    array = volume(SHAPES[0])
    path = kept(array, tmp_path, compress)

    def same(seed):
        x, y, z = np.random.default_rng(seed).integers(0, (38, 13, 4))
        where = np.s_[x : x + 32, y : y + 20, z : z + 16]
        return np.array_equal(
            arrays_on_disk.load(path, array.shape, array.dtype)[where], array[where]
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(same, range(200)))


def test_background_takes_no_room_when_compressed(tmp_path):
    pytest.importorskip("blosc2")
    array = volume(SHAPES[0])
    assert kept(array, tmp_path, True).stat().st_size < 0.5 * array.nbytes


def test_without_blosc2_only_compression_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "blosc2", None)
    assert arrays_on_disk.suffix(compress=False) == ".npy"
    for asks in (
        lambda: arrays_on_disk.suffix(compress=True),
        lambda: arrays_on_disk.load(tmp_path / "a.b2nd", (1, 1, 1), np.dtype(np.int16)),
    ):
        with pytest.raises(UserError, match=r"config\.data\.compress needs the package blosc2"):
            asks()


@pytest.mark.parametrize(
    "harm",
    [lambda c: c[:-1], lambda c: c + b"0", lambda c: b"", lambda c: b"nothing of NumPy's" * 9],
)
def test_a_harmed_file_is_refused_in_a_sentence(tmp_path, harm):
    array = volume(SHAPES[1])
    path = kept(array, tmp_path, False)
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(UserError, match=r"array\.npy in the store is damaged: .*delete it"):
        arrays_on_disk.load(path, array.shape, array.dtype)


def test_a_file_of_another_array_is_refused(tmp_path, compress):
    array = volume(SHAPES[1])
    path = kept(array, tmp_path, compress)
    with pytest.raises(UserError, match="is damaged"):
        arrays_on_disk.load(path, (9, 9, 9), array.dtype)


@pytest.mark.parametrize(
    ("allowed", "kept"), [(300, 100), (10**9, 2**14), (resource.RLIM_INFINITY, 2**14)]
)
def test_maps_are_kept_within_what_a_process_may_open(monkeypatch, allowed, kept):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (allowed, allowed))
    assert arrays_on_disk._kept_maps.__wrapped__().cache_parameters()["maxsize"] == kept
