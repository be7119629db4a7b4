"""What our builders prepare is what our sources read, voxel by voxel, by mask, affine and class."""

import functools
import hashlib
import http.server
import os
import shutil
import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tensorflow_datasets as tfds

from rubik_jax.data import npz, volumes
from rubik_jax.data.builders import brats_2018, med_mnist3d
from rubik_jax.data.builders.volume_folder import Builder, Volumes
from rubik_jax.data.cases import Where
from rubik_jax.data.formats.records import open_record
from rubik_jax.data.sources import find_cases
from rubik_jax.errors import UserError
from tests.cohorts import write_brats

# Turned and sheared, its first axis to the left, its second downwards; not all of it is float32.
AFFINE = np.array([[-0.9, 0, 0.1, 90], [0, 0.2, 2.5, 1 / 3], [0, -1.1, 0, 7], [0, 0, 0, 1]])


def folder_of_volumes(root, dtype):
    """Three cases of two modalities: the second has no mask, the third no class."""
    rng = np.random.default_rng(0)
    for i in range(3):
        arrays = {f"t{m}": rng.normal(0, 99, (5 + i, 6, 7)).astype(dtype) for m in (1, 2)}
        arrays["mask"] = rng.integers(0, 3, (5 + i, 6, 7)).astype(np.uint8)
        for kind, array in arrays.items():
            if (i, kind) != (1, "mask"):
                nib.save(nib.Nifti1Image(array, AFFINE), root / f"p{i}_{kind}.nii.gz")
    (root / "classes.csv").write_text("case,class\np0,well\np1,ill\n")
    return {
        "path": str(root),
        "modalities": ("*_t1.nii.gz", "*_t2.nii.gz"),
        "masks": "*_mask.nii.gz",
        "labels": "classes.csv",
    }


def prepare(data_dir, **config):
    Builder(config=Volumes(name="own", **config), data_dir=data_dir).download_and_prepare(
        file_format="array_record",
        download_config=tfds.download.DownloadConfig(try_download_gcs=False),
    )


def same(original, record):
    """Asserts that a case of a data set is the case that it was made from."""
    volume = volumes.read(original.images, channels=original.channels, row=original.row)
    scan = open_record(record.images[0], record.row, False)
    np.testing.assert_array_equal(scan.voxels(), volume.array.reshape(scan.shape))
    np.testing.assert_array_equal(scan.affine, volume.affine)
    assert (record.name, record.target) == (original.name, original.target)
    assert record.channels == (volume.array.shape[3] if volume.array.shape[3] > 1 else None)
    assert (record.label is None) == (original.label is None)
    if original.label:
        mask = open_record(record.label, record.row, True)
        np.testing.assert_array_equal(mask.voxels(), volumes.read_mask(original.label, volume))
        assert mask.dtype == np.int16
    return scan


@pytest.mark.parametrize(
    ("stored", "kept"),
    [("int16", "int16"), ("uint8", "int16"), ("int32", "float32"), ("float32", "float32")],
)
def test_a_folder_is_prepared_and_read_back(tmp_path, stored, kept):
    (tmp_path / "scans").mkdir()
    config = folder_of_volumes(tmp_path / "scans", stored)
    prepare(tmp_path, **config)
    where = Where(config["path"], modalities=config["modalities"], masks=config["masks"])
    originals = find_cases("folder", where, labels=config["labels"]).cases
    records = find_cases("tfds", Where(tmp_path, name="volume_folder/own:train")).cases
    assert len(records) == 3
    for original, record in zip(originals, records, strict=True):
        assert same(original, record).dtype == kept


def test_volumes_that_are_not_what_they_were_declared_are_refused(tmp_path, nifti):
    nifti("scans/a.nii.gz")
    common = {"path": str(tmp_path / "scans"), "modalities": ("*.nii.gz",)}
    with pytest.raises(UserError, match=r"case 'a' holds values .* not all .* fit int16"):
        prepare(tmp_path, **common, dtype="int16")
    with pytest.raises(UserError, match="dtype is 'int8': expected 'int16', 'float32'"):
        prepare(tmp_path, **common, dtype="int8")
    assert not list(tmp_path.rglob("dataset_info.json"))


def test_brats_is_prepared_from_the_folders_of_its_organisers(tmp_path):
    with pytest.raises(UserError, match=r"brats_2018 is not in .*: Register at .* HGG and LGG"):
        find_cases("tfds", Where(tmp_path, name="brats_2018"))
    manual = tmp_path / "downloads" / "manual"
    (manual / "other").mkdir(parents=True)
    with pytest.raises(UserError, match="is named as BraTS names them"):
        find_cases("tfds", Where(tmp_path, name="brats_2018"))
    write_brats(manual / "MICCAI_BraTS_2018_Data_Training", cases=3, size=(9, 8, 7))
    records = find_cases("tfds", Where(tmp_path, name="brats_2018")).cases
    for original, record in zip(find_cases("brats", Where(manual)).cases, records, strict=True):
        assert same(original, record).dtype == np.int16
    assert [case.target for case in records] == ["HGG", "LGG", "HGG"]
    info = brats_2018.Builder(data_dir=tmp_path).info
    assert info.features["image"].shape == (None, None, None, 4)


@pytest.fixture
def zenodo(tmp_path, monkeypatch):
    """A folder that the builder of MedMNIST3D downloads from."""
    folder = tmp_path / "zenodo"
    folder.mkdir()
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(quiet, directory=folder)
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(med_mnist3d, "URL", f"http://127.0.0.1:{server.server_port}")
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def test_med_mnist3d_is_downloaded_checked_and_read_back(tmp_path, zenodo, monkeypatch):
    rng, arrays = np.random.default_rng(0), {}
    for part, n in {"train": 4, "val": 2, "test": 3}.items():
        arrays[f"{part}_images"] = rng.integers(0, 256, (n, 28, 28, 28), np.uint8)
        arrays[f"{part}_labels"] = rng.integers(0, 3, (n, 1), np.uint8)
    file = zenodo / "fracturemnist3d.npz"
    np.savez(file, **arrays)
    where = Where(tmp_path, name="med_mnist3d/fracture_28")
    with pytest.raises(UserError, match=r"has the MD5 sum \w+: expected 6aa7b0143a6b42da40027a9dd"):
        find_cases("tfds", where)
    found = hashlib.md5(file.read_bytes()).hexdigest()
    monkeypatch.setitem(med_mnist3d.MD5, ("fracture", 28), found)
    records = find_cases("tfds", where).cases
    for original, record in zip(find_cases("medmnist3d", Where(file)).cases, records, strict=True):
        names = med_mnist3d.CLASSES["fracture"]
        scan = same(original._replace(target=names[int(original.target)]), record)
        assert (scan.dtype, record.part) == (np.uint8, original.part)
    npz.forget()


def test_a_failed_download_is_one_sentence(tmp_path, zenodo):
    with pytest.raises(UserError, match=r"med_mnist3d cannot be prepared in .*404") as refused:
        find_cases("tfds", Where(tmp_path, name="med_mnist3d/organ_64"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("side", [28, 64])
def test_the_real_adrenal_cubes_have_the_sums_that_are_noted(tmp_path, side):
    data = Path(os.environ.get("RUBIK_DATA", Path(__file__).parents[3] / "shared" / "data"))
    file = data / "medmnist3d" / f"adrenalmnist3d{'' if side == 28 else '_64'}.npz"
    if not file.is_file():
        pytest.skip(f"no {file}: RUBIK_DATA=FOLDER names where `medmnist3d` lies")
    assert hashlib.md5(file.read_bytes()).hexdigest() == med_mnist3d.MD5["adrenal", side]
    noted = med_mnist3d.Builder.url_infos[med_mnist3d.Cubes(name="", data="adrenal", side=side).url]
    assert noted == tfds.core.download.checksums.compute_url_info(file)
    if side == 28:
        manual = tmp_path / "downloads" / "manual"
        manual.mkdir(parents=True)
        shutil.copy(file, manual)
        records = find_cases("tfds", Where(tmp_path, name="med_mnist3d/adrenal_28")).cases
        assert len(records) == 1188 + 98 + 298
        same_as = {case.name: case for case in find_cases("medmnist3d", Where(file)).cases}
        for record in records[::100]:
            names = med_mnist3d.CLASSES["adrenal"]
            original = same_as[record.name]
            same(original._replace(target=names[int(original.target)]), record)
        npz.forget()
