"""What reader threads call is safe in them, on Python 3.11 as well."""

import ast
import gc
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import SimpleITK

from rubik_jax.data import arrays_on_disk, formats, npz

THREADS, FILES = 8, 3000
VOXELS = np.random.default_rng(0).integers(0, 900, (5, 4, 3), np.int16)


@pytest.fixture
def switching():
    """Has threads take turns within a parse: jax too has the collector call Python."""
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()

    def turn(*_):
        pass

    gc.freeze()  # what other tests left needn't be looked through again and again
    gc.callbacks.append(turn)
    gc.set_threshold(20)
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*threshold)
    gc.callbacks.remove(turn)
    gc.unfreeze()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of a store, as many as a cohort's, and two that are prepared."""
    folder = tmp_path_factory.mktemp("threads")
    with (folder / "0.npy").open("wb") as file:
        arrays_on_disk.save(file, VOXELS, compress=False)
    content = (folder / "0.npy").read_bytes()
    for i in range(1, FILES):
        (folder / f"{i}.npy").write_bytes(content)
    np.savez(folder / "a.npz", image=VOXELS, spacing=[1, 2, 3])
    return folder


def deep(levels, function):
    """Calls it with as many frames below, which is what Python 3.11 confuses."""
    return deep(levels - 1, function) if levels else function()


def reads(folder, i):
    """All that a thread reads of NumPy's files."""
    path = folder / f"{i % FILES}.npy"
    yield arrays_on_disk.load(path, VOXELS.shape, VOXELS.dtype)
    if i % 10 == 0:  # the checks of types, in tests alone, make these slow
        yield formats.open_scan(path).voxels()
        yield formats.open_scan(folder / "a.npz").voxels()
        yield npz.load(folder / "a.npz", "image")


def test_eight_threads_open_thousands_of_files(files, switching):
    def one(i):
        return deep(i % 40, lambda: all(np.array_equal(a, VOXELS) for a in reads(files, i)))

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(one, range(FILES)))


def test_nothing_that_a_thread_reads_is_evaluated(files, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a header is evaluated")

    with monkeypatch.context() as patched:  # pytest itself parses
        patched.setattr(ast, "parse", refuse)
        patched.setattr(ast, "literal_eval", refuse)
        found = list(reads(files, 0))
    assert all(np.array_equal(array, VOXELS) for array in found)


def test_threads_read_in_silence_and_leave_itk_as_it_was(tmp_path, capfd):
    path = tmp_path / "a.mha"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VOXELS.T), path, True)
    shown = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda _: formats.open_scan(path).voxels(), range(400)))
    assert all(np.array_equal(array, VOXELS) for array in found)
    assert SimpleITK.ProcessObject.GetGlobalWarningDisplay() == shown
    assert capfd.readouterr().err == ""
