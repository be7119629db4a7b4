"""Rows of a MedMNIST3D file become cases and volumes; a file that is none runs no code."""

import pickle

import numpy as np
import pytest

from rubik_jax.data import entries, npz, volumes
from rubik_jax.data.cases import Where
from rubik_jax.data.sources import find_cases
from rubik_jax.data.split import make_split
from rubik_jax.errors import UserError
from tests.preprocessing import scaled

COUNTS = {"train": 5, "val": 2, "test": 3}


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    found = {}
    for part, n in COUNTS.items():
        found[f"{part}_images"] = rng.integers(0, 256, (n, 6, 6, 6), np.uint8)
        found[f"{part}_labels"] = rng.integers(0, 11, (n, 1), np.uint8)
    return found


def listed(path):
    return find_cases("medmnist3d", Where(path)).cases


def saved(path, arrays):
    np.savez_compressed(path, **arrays)
    return path


def test_every_row_is_a_case_with_its_part_and_class(tmp_path, arrays):
    cases = listed(saved(tmp_path / "x.npz", arrays))
    assert len(cases) == 10
    by_name = {case.name: case for case in cases}
    for part, n in COUNTS.items():
        for i in range(n):
            case = by_name[f"{part}_{i:04d}"]
            assert case.target == str(arrays[f"{part}_labels"][i, 0])
            volume = volumes.read(case.images, row=case.row)
            assert volume.array.dtype == np.uint8
            np.testing.assert_array_equal(volume.array[..., 0], arrays[f"{part}_images"][i])
            np.testing.assert_array_equal(volume.affine, np.eye(4))
    parts = make_split(cases, test=0.5, validation=0.5, seed=0, folds=0, fold=0, file="")
    assert [len(part) for part in parts] == list(COUNTS.values())
    assert all(name.startswith("val") for name in parts.validation)


def test_the_store_reads_each_array_once(tmp_path, arrays, monkeypatch):
    cases, reads = listed(saved(tmp_path / "x.npz", arrays)), []
    load = npz.load
    monkeypatch.setattr(npz, "load", lambda *which: reads.append(which[1]) or load(*which))
    knobs = {"how": scaled(0, 255), "workers": 3}
    built = entries.build(cases, tmp_path / "store", **knobs).store
    assert sorted(reads) == ["test_images", "train_images", "val_images"]
    for i, case in enumerate(cases):
        array, row = case.row
        np.testing.assert_allclose(built[i][..., 0], arrays[array][row] / 255, atol=1e-3)
    assert entries.build(cases, tmp_path / "store", **knobs).store == built and len(reads) == 3
    moved = [cases[0]._replace(row=("test_images", 1)), *cases[1:]]
    assert entries.build(moved, tmp_path / "store", **knobs).store.keys[0] != built.keys[0]
    arrays["test_images"][0] += 1
    saved(tmp_path / "x.npz", arrays)
    assert not set(entries.build(cases, tmp_path / "store", **knobs).store.keys) & set(built.keys)


def test_a_constant_row_is_named(tmp_path, arrays):
    arrays["test_images"][1] = 7
    cases = listed(saved(tmp_path / "x.npz", arrays))
    with pytest.raises(UserError, match=r"row 1 of test_images in .*x\.npz is constant: .* 7"):
        entries.build(cases, tmp_path / "s", how=scaled(0, 9))


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("the file's code was run",)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def _flipped(path):
    content = bytearray(path.read_bytes())
    content[300:400] = bytes(100)
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (_cut, "is damaged, or no .npz file"),
        (_flipped, "is damaged, or no .npz file"),
        (lambda path: path.write_bytes(b"no archive" * 9), "is damaged, or no .npz file"),
        (lambda path: path.write_bytes(pickle.dumps(Bomb())), "is damaged, or no .npz file"),
        (lambda path: path.with_suffix(".npy").replace(path), "is damaged, or no .npz file"),
        (lambda path: (path.unlink(), path.mkdir()), "is the folder"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, arrays, spoil, said):
    path = saved(tmp_path / "x.npz", arrays)
    np.save(tmp_path / "x.npy", np.ones(3))
    spoil(path)
    with pytest.raises(UserError, match=rf"x\.npz.*{said}|{said} .*x\.npz") as refused:
        for case in listed(path):
            volumes.read(case.images, row=case.row)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"train_images": np.array([Bomb()], object)}, "holds Python objects"),
        ({"train_images": np.ones((5, 6, 6, 6), np.float32)}, r"float32 \[5, 6, 6, 6\]: expected"),
        ({"train_images": np.ones((5, 28, 28, 3), np.uint8)}, r"\[5, 28, 28, 3\]: expected uint8"),
        ({"train_labels": np.ones((5, 14), np.uint8)}, r"uint8 \[5, 14\]: expected one whole"),
        ({"train_labels": np.ones((4, 1), np.uint8)}, "for each of 5 cubes"),
        ({"train_labels": None}, "holds no array 'train_labels'"),
        (dict.fromkeys([f"{part}_images" for part in COUNTS]), "expected train_images"),
    ],
)
def test_arrays_of_another_kind_are_refused(tmp_path, arrays, changed, said):
    kept = {name: array for name, array in (arrays | changed).items() if array is not None}
    with pytest.raises(UserError, match=said):
        listed(saved(tmp_path / "x.npz", kept))
