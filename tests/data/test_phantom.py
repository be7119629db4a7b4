"""The toy heads: reproducible, varied, tell-tale in every octant, and written once."""

import itertools
import json

import nibabel as nib
import numpy as np
import pytest

from rubik_jax.data import anatomy, phantom
from rubik_jax.data.cases import Where
from rubik_jax.data.sources import phantom as source
from rubik_jax.errors import UserError

OCTANTS = tuple(itertools.product((0, 1), repeat=3))
HALF_TURNS = ((), (0, 1), (1, 2), (0, 2))  # the axes that each flips


@pytest.fixture(scope="module")
def cohort():
    return [phantom.generate(seed=3, case=case) for case in range(24)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "new" / "cohort"
    phantom.write(folder, 3, seed=1)
    return folder


def cubes(image):
    """The octants of the middle 40 x 48 x 40, 4 voxels apart, each scaled like a puzzle's cube."""
    corner = [(n - window) // 2 for n, window in zip(image.shape, (40, 48, 40), strict=True)]
    size = (18, 22, 18)
    for octant in OCTANTS:
        start = [c + o * (s + 4) for c, o, s in zip(corner, octant, size, strict=True)]
        window = tuple(slice(a, a + s) for a, s in zip(start, size, strict=True))
        cube = image[window] - image[window].mean()
        yield cube / np.abs(cube).max()


def test_a_case_is_a_function_of_seed_and_number(cohort):
    again = phantom.generate(seed=3, case=5)
    for one, other in zip(cohort[5], again, strict=True):
        np.testing.assert_array_equal(one, other)
    for other in (cohort[6], phantom.generate(seed=4, case=5)):
        common = tuple(map(slice, np.minimum(other.image.shape, again.image.shape)))
        apart = other.label[common] != again.label[common]
        assert apart.mean() > 0.02  # another anatomy, not just other noise


def test_sides_vary_within_what_is_promised(cohort):
    sides = np.array([case.image.shape for case in cohort])
    assert sides.min(axis=0).tolist() >= [44, 52, 44]
    assert np.abs(sides - phantom.SHAPE).max() <= phantom.SPREAD
    assert len(np.unique(sides, axis=0)) > 12


def test_labels_mean_what_they_say(cohort):
    for image, label, kind in cohort:
        assert (image.dtype, label.dtype, label.shape) == (np.int16, np.uint8, image.shape)
        assert np.unique(label).tolist() == ([0, 1, 2] if kind == "none" else [0, 1, 2, 3])
        brain, ventricles = image[label == 1].mean(), image[label == 2].mean()
        assert ventricles < 0.75 * brain
        assert kind == "none" or image[label == 3].mean() > 1.25 * brain


def test_kinds_are_balanced_and_seen_in_the_lesions(cohort):
    sizes, widths = ({kind: [] for kind in anatomy.KINDS} for _ in range(2))
    for case in cohort:
        lesion = np.argwhere(case.label == anatomy.LESION)
        sizes[case.kind].append(len(lesion))
        widths[case.kind].append(0 if case.kind == "none" else np.ptp(lesion, axis=0).max())
    assert max(sizes["none"]) < min(sizes["small"])
    assert max(sizes["small"]) < min(sizes["large"])
    assert max(widths["small"] + widths["large"]) < min(widths["multiple"])

    dealt = [phantom.kind_of(7, case) for case in range(41)]
    for n in range(1, len(dealt)):
        counts = [dealt[:n].count(kind) for kind in anatomy.KINDS]
        assert max(counts) - min(counts) <= 1
    assert dealt[:4] != dealt[4:8] or dealt[:4] != dealt[8:12]


def test_no_octant_looks_like_its_own_half_turn(cohort):
    for image, _, _ in cohort:
        for cube in cubes(image):
            for axes in HALF_TURNS[1:]:
                assert np.abs(cube - np.flip(cube, axes)).mean() > 0.5 * cube.std()


def test_place_and_turn_carry_over_to_held_out_cases(cohort):
    """The mean cube of each place and turn in 16 cases is enough to name most in the other 8.

    No more than most: without an encoder, the deformations blur the mean cubes.
    """

    def turned(case):
        return np.stack(
            [np.flip(c, axes).ravel() for c in cubes(case.image) for axes in HALF_TURNS]
        )

    templates = np.mean([turned(case) for case in cohort[:16]], axis=0)
    templates -= templates.mean(axis=1, keepdims=True)
    templates /= np.linalg.norm(templates, axis=1, keepdims=True)
    named = np.array([(turned(case) @ templates.T).argmax(axis=1) for case in cohort[16:]])
    assert (named == np.arange(len(templates))).mean() > 0.75  # chance is 1 in 32


def test_files_hold_the_cases(written):
    listed = source.cases(Where(str(written), count=3, seed=1))
    assert [case.name for case in listed] == ["phantom_000", "phantom_001", "phantom_002"]
    rows = (written / "classes.csv").read_text().splitlines()
    assert rows[0] == "case,class"
    for i, case in enumerate(listed):
        drawn = phantom.generate(1, i)
        image, label = nib.load(case.images[0]), nib.load(case.label)
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), drawn.image)
        np.testing.assert_array_equal(np.asanyarray(label.dataobj), drawn.label)
        assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
        assert image.header.get_zooms() == (4, 4, 4)
        assert rows[i + 1] == f"{case.name},{drawn.kind}"


def test_a_second_call_touches_nothing(written):
    before = {file: file.stat().st_mtime_ns for file in [written, *written.rglob("*")]}
    source.cases(Where(str(written), count=3, seed=1))
    assert before == {file: file.stat().st_mtime_ns for file in [written, *written.rglob("*")]}


def test_an_interrupted_call_is_completed(written, tmp_path, monkeypatch):
    draw = phantom.generate

    def power_cut(seed, case):
        if case == 2:
            raise KeyboardInterrupt
        return draw(seed, case)

    monkeypatch.setattr(phantom, "generate", power_cut)
    with pytest.raises(KeyboardInterrupt):
        phantom.write(tmp_path, 3, seed=1)
    assert not (tmp_path / "phantom.json").exists()
    with pytest.raises(UserError, match=r"'seed': 1.*'seed': 2"):
        phantom.write(tmp_path, 3, seed=2)

    drawn = []
    monkeypatch.setattr(phantom, "generate", lambda *at: drawn.append(at) or draw(*at))
    phantom.write(tmp_path, 3, seed=1)
    assert drawn == [(1, 2)]
    whole, completed = (
        {file.relative_to(root): file.read_bytes() for file in root.rglob("*") if file.is_file()}
        for root in (written, tmp_path)
    )
    assert completed == whole


@pytest.mark.parametrize(
    ("count", "seed", "sentence"),
    [(2, 1, "'count': 3.*'count': 2"), (3, 0, "'seed': 1.*'seed': 0"), (0, 1, "0 phantoms")],
)
def test_another_cohort_is_refused(written, count, seed, sentence):
    with pytest.raises(UserError, match=sentence):
        phantom.write(written, count, seed)


def test_phantoms_of_another_version_are_refused(tmp_path):
    (tmp_path / "phantom.json").write_text(json.dumps({"count": 1, "seed": 0, "version": 0}))
    with pytest.raises(UserError, match=f"'version': 0.*'version': {phantom.VERSION}"):
        phantom.write(tmp_path, 1, 0)


def test_what_is_not_ours_stays_as_it_is(tmp_path):
    with pytest.raises(UserError, match=r"config\.data\.path"):
        source.cases(Where(None, count=1, seed=0))
    (tmp_path / "imagesTr").mkdir()
    with pytest.raises(UserError, match="'imagesTr'"):
        source.cases(Where(str(tmp_path), count=1, seed=0))
    assert list(tmp_path.rglob("*")) == [tmp_path / "imagesTr"]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Not a directory"):
        source.cases(Where(str(tmp_path / "file"), count=1, seed=0))


def test_a_file_that_is_gone_is_named(tmp_path):
    source.cases(Where(str(tmp_path), count=1, seed=0))
    (tmp_path / "labelsTr" / "phantom_000.nii.gz").unlink()
    with pytest.raises(UserError, match=r"labelsTr.phantom_000\.nii\.gz is gone"):
        source.cases(Where(str(tmp_path), count=1, seed=0))
