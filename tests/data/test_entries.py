"""The store gives back what was read, never stale, whole or not at all."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from rubik_jax.data import arrays_on_disk, digests, entries, loader, volumes
from rubik_jax.data.cases import Case
from rubik_jax.data.examples import Examples
from rubik_jax.data.store import Store
from rubik_jax.errors import RunError, UserError
from tests.preprocessing import scaled

WINDOW = scaled(0, 100)


def build(cases, root, how=WINDOW, **options) -> Store:
    return entries.build(cases, root, how=how, **options).store


@pytest.fixture
def cohort(nifti):
    mask = nifti("mask.nii.gz", np.arange(336).reshape(6, 7, 8) % 2, dtype=np.uint8)
    return [
        Case("a", (nifti("a1.nii.gz"), nifti("a2.nii.gz")), mask),
        Case("b", (nifti("b.nii.gz", (9, 5, 4, 2)),), channels=2),
    ]


def test_entries_hold_the_scaled_volume_mask_and_affine(cohort, tmp_path):
    built = build(cohort, tmp_path / "store", workers=2)
    assert built.names == ("a", "b") and built.shapes == ((6, 7, 8, 2), (9, 5, 4, 2))
    for i, case in enumerate(cohort):
        read = volumes.read(case.images, channels=case.channels)
        assert isinstance(built[i].base, np.memmap) and built[i].dtype == np.float16
        assert built[i] is built[i]  # opened once
        np.testing.assert_allclose(built.volume(i), read.array / 100, atol=1e-3)
        np.testing.assert_array_equal(built.affine(i), read.affine)
    np.testing.assert_array_equal(built.label(0).ravel(), np.arange(336) % 2)
    assert built.label(1) is None
    assert [volume.shape for volume in built.only(["b"])] == [(9, 5, 4, 2)]


def test_compressed_entries_hold_the_same(cohort, tmp_path):
    pytest.importorskip("blosc2")
    plain, packed = (build(cohort, tmp_path / "store", compress=way) for way in (False, True))
    assert not set(plain.keys) & set(packed.keys) and plain.shapes == packed.shapes
    assert build(cohort, tmp_path / "store", compress=True) == packed
    for one, other in zip(plain, packed, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(plain.label(0), packed.label(0))
    assert packed.label(1) is None

    def batch(built):
        examples = Examples(built.only(["a"]), masks=True)
        return next(
            loader.training_batches(examples, window=(5, 9, 6), batch_size=4, seed=0, threads=0)
        )

    for name, array in batch(plain).items():
        np.testing.assert_array_equal(array, batch(packed)[name])


def test_what_is_noted_of_masks_is_of_the_stored_ones(cohort, tmp_path, nifti):
    labels = np.zeros((6, 7, 8))
    labels[1:3], labels[4, 4, 4] = 2, 4
    cohort.append(Case("c", cohort[0].images, nifti("c_mask.nii.gz", labels, dtype=np.uint8)))
    for _ in range(2):  # built, then opened
        built = build(cohort, tmp_path / "store")
        assert built.values == (0, 1, 2, 4) and built.only(["b", "c"]).values == (0, 2, 4)
        assert built.only(["b"]).values == () and built.places(1).shape == (0, 3)
        assert built.entries[2]["labels"] == {"0": 223, "2": 112, "4": 1}
        for i, n in ((0, 168), (2, 113)):
            places = built.places(i)
            assert places.dtype == np.int32 and places.shape == (n, 3)
            assert (built.label(i)[tuple(places.T)] > 0).all()
        assert [4, 4, 4] in built.places(2).tolist()


def kept(root):
    """The files of entries."""
    return [path for path in root.iterdir() if path.name != digests.FILE]


def _ages(root):
    return {path.name: path.stat().st_mtime_ns for path in kept(root)}


def test_builds_once_and_resumes_where_it_stopped(cohort, tmp_path):
    root = tmp_path / "store"
    first = build(cohort, root)
    ages = _ages(root)
    assert build(cohort, root) == first
    assert _ages(root) == ages
    committed = root / f"a-{first.keys[0]}.json"
    committed.unlink()  # as if killed after the arrays, before the commit
    assert build(cohort, root) == first
    changed = {name for name, age in _ages(root).items() if age != ages[name]}
    assert changed == {name for name in ages if name.startswith("a-")}


def test_a_changed_file_or_knob_is_never_served_stale(cohort, tmp_path, nifti):
    def keys():
        return build(cohort, tmp_path / "store", how=how).keys

    how = WINDOW
    seen = [keys()]
    how = scaled(0, 90)
    seen.append(keys())
    # A mask is corrected; its size and its time stay as they were.
    mask, before = cohort[0].label, cohort[0].label.stat()
    nifti("mask.nii.gz", 1 - np.arange(336).reshape(6, 7, 8) % 2, dtype=np.uint8)
    with mask.open("ab") as file:
        file.write(b"\0" * (before.st_size - mask.stat().st_size))
    os.utime(mask, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert mask.stat().st_size == before.st_size
    seen.append(keys())
    assert seen[2][0] != seen[1][0] and seen[2][1] == seen[1][1]
    newest = build(cohort, tmp_path / "store", how=how)
    np.testing.assert_array_equal(newest.label(0).ravel(), 1 - np.arange(336) % 2)
    nifti("b.nii.gz", np.random.default_rng(5).uniform(0, 90, (9, 5, 4, 2)))
    seen.append(keys())
    cohort[0] = cohort[0]._replace(images=cohort[0].images[::-1])
    seen.append(keys())
    assert len(set(seen)) == 5
    newest = build(cohort, tmp_path / "store", how=how)
    read = volumes.read(cohort[1].images, channels=2)
    np.testing.assert_allclose(newest[1], np.clip(read.array / 90, 0, 1), atol=1e-3)


def test_files_that_were_moved_or_copied_are_the_same_case(cohort, tmp_path):
    root = tmp_path / "store"
    first = build(cohort, root)
    ages = _ages(root)
    for way in (shutil.copy, shutil.move):
        there = tmp_path / way.__name__
        there.mkdir()

        def moved(path, way=way, there=there):
            return path and Path(way(path, there / f"renamed_{path.name}"))

        elsewhere = [
            case._replace(images=tuple(map(moved, case.images)), label=moved(case.label))
            for case in cohort
        ]
        assert build(elsewhere, root) == first
        assert _ages(root) == ages


def test_a_case_that_changes_while_it_is_read_is_refused(cohort, tmp_path, monkeypatch, nifti):
    ready = entries.ready

    def meanwhile(case, how):
        found = ready(case, how)
        nifti("b.nii.gz", np.zeros((9, 5, 4, 2)))
        return found

    monkeypatch.setattr(entries, "ready", meanwhile)
    with pytest.raises(UserError, match="case 'b' changed while it was read"):
        build(cohort[1:], tmp_path / "store")
    assert not kept(tmp_path / "store")


def test_a_changed_image_beside_its_header_is_never_served_stale(tmp_path):
    for round_ in (1, 2):
        array = np.random.default_rng(round_).uniform(0, 100, (5, 6, 7)).astype(np.float32)
        pair = nib.Nifti1Pair(array, np.eye(4))
        nib.save(pair, tmp_path / "new.hdr")
        (tmp_path / "new.img").replace(tmp_path / "scan.img")
        if round_ == 1:  # the header stays as it was
            (tmp_path / "new.hdr").replace(tmp_path / "scan.hdr")
        cases = [Case("scan", (tmp_path / "scan.hdr",))]
        built = build(cases, tmp_path / "store")
        np.testing.assert_allclose(built.volume(0)[..., 0], array / 100, atol=1e-3)


def test_several_may_build_at_once(cohort, tmp_path):
    many = [Case(f"{case.name}{i}", *case[1:]) for i in range(8) for case in cohort]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(build, many, tmp_path / "store", workers=2) for _ in range(4)]
        assert len({job.result().keys for job in jobs}) == 1
    assert not list((tmp_path / "store").glob("*.tmp"))


def test_progress_sees_every_case(cohort, tmp_path):
    seen = []

    def progress(done, total):
        for entry, reason in done:
            seen.append((entry["name"], total))
            yield entry, reason

    build(cohort, tmp_path / "store", progress=progress)
    assert seen == [("a", 2), ("b", 2)]


def test_the_first_bad_case_in_order_is_named_and_leaves_nothing(cohort, tmp_path, nifti):
    bad = [
        Case("c", (nifti("c1.nii.gz"), nifti("c2.nii.gz", (6, 7, 9)))),
        Case("d", (tmp_path / "absent.nii.gz",) * 2),
    ]
    for cases, said in ((bad, "c2.nii.gz is 6x7x9"), (bad[::-1], "absent.nii.gz does not exist")):
        with pytest.raises(UserError, match=said):
            build([cohort[0], *cases], tmp_path / "store", workers=3)
    assert {path.name[0] for path in kept(tmp_path / "store")} == {"a"}


def test_refusals(cohort, tmp_path, nifti):
    root = tmp_path / "store"
    with pytest.raises(UserError, match=r"mask\.nii\.gz is 6x7x8 voxels"):
        build([Case("e", (nifti("e.nii.gz", (5, 5, 5)),), cohort[0].label)], root)
    with pytest.raises(UserError, match="case 'e' has 1 modalities, case 'a' has 2"):
        build([*cohort, Case("e", (nifti("e.nii.gz"),))], root)
    with pytest.raises(UserError, match=r"case 'a'.*nothing is left"):
        build(cohort, root, scaled(1000, 2000))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"the store .* cannot be made"):
        build(cohort, tmp_path / "file" / "store")
    assert not kept(root)


def test_a_full_disk_is_one_sentence_and_leaves_no_rest(cohort, tmp_path, monkeypatch):
    def full(file, array, compress):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(arrays_on_disk, "save", full)
    with pytest.raises(RunError, match=r"no space left on the disk of .* needed, .* free"):
        build(cohort, tmp_path / "store")
    assert not kept(tmp_path / "store")
