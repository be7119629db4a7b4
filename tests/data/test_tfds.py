"""Data sets that TensorFlow Datasets prepared, with any features, are listed and read."""

import json
import shutil
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from rubik_jax.data.cases import Where
from rubik_jax.data.digests import remembered
from rubik_jax.data.formats import Clip
from rubik_jax.data.formats.records import open_record
from rubik_jax.data.identity import digest_of
from rubik_jax.data.sources import find_cases
from rubik_jax.data.split import make_split
from rubik_jax.data.volumes import read
from rubik_jax.errors import UserError

SPLITS = {"train": 5, "val": 2, "test": 3}
AFFINE = np.array([[0, -0.7, 0.1, 3], [1.1, 0, 0, -20], [0, 0.2, 2.5, 1 / 3], [0, 0, 0, 1]])


class Toy(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Whatever features and examples a test wants."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, features, make, splits, **options):
        self.given = features, make, splits
        super().__init__(**options)

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(self.given[0])
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split, n) for split, n in self.given[2].items()}

    def _generate_examples(self, split, n):
        for i in range(n):
            yield i, self.given[1](split, i)


def prepare(root, features, make, splits=SPLITS, form="array_record", **options):
    builder = Toy(features, make, splits, data_dir=root, **options)
    builder.download_and_prepare(
        file_format=form, download_config=tfds.download.DownloadConfig(try_download_gcs=False)
    )
    return Path(builder.data_dir)


def listed(root, name="toy"):
    return find_cases("tfds", Where(root, name=name)).cases


def tensor(shape, dtype=np.int16, encoding="zlib"):
    return tfds.features.Tensor(shape=shape, dtype=dtype, encoding=encoding)


def volume(split, i, shape=(4, 5, 6)):
    return np.random.default_rng((len(split), i)).integers(-99, 99, shape).astype(np.int16)


def _always(example):
    return lambda split, i: example


def voxels(case, mask=False):
    return open_record(case.label if mask else case.images[0], case.row, mask).voxels()


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Three splits of labelled volumes; only the first of each split has a mask."""
    root = tmp_path_factory.mktemp("tfds")
    features = {
        "image": tensor((None, None, None)),
        "mask": tensor((None, None, None), np.uint8),
        "affine": tensor((4, 4), np.float64, "bytes"),
        "label": tfds.features.ClassLabel(names=["ill", "well"]),
        "id": tfds.features.Text(),
    }

    def make(split, i):
        image = volume(split, i, (4, 5 + i, 6))
        return {
            "image": image,
            "mask": (image > 0).astype(np.uint8) if i == 0 else np.zeros((0, 0, 0), np.uint8),
            "affine": AFFINE,
            "label": i % 2 if i < 3 else -1,
            "id": f"{split}/case {i}",
        }

    prepare(root, features, make)
    return root


def test_every_example_is_a_case_with_its_part_class_and_mask(toy):
    by_name = {case.name: case for case in listed(toy)}
    assert len(by_name) == sum(SPLITS.values())
    for split, n in SPLITS.items():
        for i in range(n):
            case, expected = by_name[f"{split}_case_{i}"], volume(split, i, (4, 5 + i, 6))
            assert case.target == (("ill", "well")[i % 2] if i < 3 else None)
            assert case.part == {"val": "validation"}.get(split, split)
            scan = open_record(case.images[0], case.row, False)
            assert (scan.kind, scan.shape, scan.dtype) == ("records", expected.shape, np.int16)
            np.testing.assert_array_equal(scan.voxels(), expected)
            np.testing.assert_array_equal(scan.affine, AFFINE)
            assert (case.label is not None) == (i == 0)
            if case.label:
                np.testing.assert_array_equal(voxels(case, mask=True), expected > 0)
    parts = make_split(
        list(by_name.values()), test=0.5, validation=0.5, seed=0, folds=0, fold=0, file=""
    )
    assert tuple(map(len, parts)) == tuple(SPLITS.values())
    with pytest.raises(UserError, match=r"example \d of 'test' in .* has no mask"):
        open_record(by_name["test_case_1"].images[0], by_name["test_case_1"].row, True)


@pytest.mark.parametrize(
    ("split", "rows"),
    [
        ("train[:80%]", [("train", i) for i in range(4)]),
        ("train[-1:]+test", [("train", 4), *(("test", i) for i in range(3))]),
        ("all", [(split, i) for split, n in SPLITS.items() for i in range(n)]),
    ],
)
def test_a_slice_lists_the_same_cases_as_the_whole(toy, split, rows):
    whole = {case.row: case for case in listed(toy)}
    sliced = {case.row: case for case in listed(toy, f"toy:1.0.0:{split}")}
    assert sliced.keys() == set(rows)
    for row, case in sliced.items():
        assert case == whole[row]._replace(part=None)
        np.testing.assert_array_equal(voxels(case), voxels(whole[row]))


def test_listing_unpacks_no_voxels_and_threads_share_the_files(toy, monkeypatch):
    cases = listed(toy)
    alone = [voxels(case) for case in cases]
    with ThreadPoolExecutor(8) as pool:
        for one, other in zip(alone * 4, pool.map(voxels, cases * 4), strict=True):
            np.testing.assert_array_equal(one, other)
    monkeypatch.setattr(zlib, "decompress", lambda *_: pytest.fail("unpacked"))
    assert listed(toy) == cases


@pytest.mark.parametrize(
    ("shape", "declared", "encoding", "channels"),
    [
        ((4, 5, 6), (4, 5, 6), "none", None),
        ((4, 5, 6), (None, 5, 6), "zlib", None),
        ((4, 5, 6, 1), (None, None, None, 1), "bytes", None),
        ((4, 5, 6, 3), (None, None, None, None), "zlib", 3),
        ((4, 5, 6, 2), (4, None, 6, 2), "zlib", 2),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.bool_])
def test_tensors_of_any_declaration(tmp_path, shape, declared, encoding, channels, dtype):
    array = (volume("", 0, shape) % 2).astype(dtype)
    prepare(
        tmp_path,
        {"scan": tensor(declared, dtype, encoding)},
        _always({"scan": array}),
        {"train": 1},
    )
    (case,) = listed(tmp_path)
    assert (case.name, case.channels, case.label, case.part) == (
        "train_00000",
        channels,
        None,
        None,
    )
    scan = open_record(case.images[0], case.row, False)
    read = scan.voxels()
    assert scan.shape == read.shape == (shape if channels else shape[:3])
    assert scan.dtype == read.dtype == (np.uint8 if dtype == np.bool_ else dtype)
    np.testing.assert_array_equal(read, array.reshape(read.shape))
    np.testing.assert_array_equal(scan.affine, np.eye(4))


@pytest.mark.parametrize("kind", ["Video", "Sequence"])
def test_frames_lie_along_z(tmp_path, monkeypatch, kind):
    def frames(split, i):
        return (
            np.random.default_rng((len(split), i)).integers(0, 255, (4, 6, 8, 3)).astype(np.uint8)
        )

    def make(split, i):
        return {"video": [Image.fromarray(frame) for frame in frames(split, i)], "label": i}

    with monkeypatch.context() as context:
        if kind == "Video":  # which asks TensorFlow for the name of a type, and only to write
            names = SimpleNamespace(dtypes=SimpleNamespace(as_dtype=np.dtype))
            context.setattr(tfds.core.features.video_feature, "tf", names)
            context.setattr(tfds.core.features.feature, "tf", names)
            feature = tfds.features.Video(shape=(None, 6, 8, 3))
        else:
            feature = tfds.features.Sequence(tfds.features.Image(shape=(None, None, 3)))
        label = tfds.features.ClassLabel(names=["run", "jump"])
        folder = prepare(tmp_path, {"video": feature, "label": label}, make, {"train": 2})
    assert kind in (folder / "features.json").read_text()
    clipped = find_cases("tfds", Where(tmp_path, name="toy", clip=Clip(2, 6))).cases
    for case, other in zip(listed(tmp_path), clipped, strict=True):
        expected = [frames("train", i) for i in range(2) if case.target == ("run", "jump")[i]]
        assert other.clip == (Clip(2, 6) if kind == "Video" else None)  # slices are no video
        if other.clip:
            taken = read(other.images, channels=3, row=other.row, clip=other.clip).array
            middle = expected[0][[1, 3], :, 1:7].transpose(2, 1, 0, 3)
            np.testing.assert_array_equal(taken, middle)
        scan = open_record(case.images[0], case.row, False)
        assert scan.shape == (8, 6, 4, 3) and case.channels == 3
        for t in range(4):
            np.testing.assert_array_equal(scan.voxels()[:, :, t], expected[0][t].swapaxes(0, 1))


@pytest.mark.parametrize(
    ("feature", "values", "targets"),
    [
        (tfds.features.Text(), ["a b", "ü"], ["a b", "ü"]),
        (np.int64, [3, 12], ["3", "12"]),
        (tfds.features.ClassLabel(num_classes=20), [3, 12], ["3", "12"]),
    ],
)
def test_classes_of_any_kind(tmp_path, feature, values, targets):
    features = {"image": tensor((2, 3, 4)), "label": feature, "name": tfds.features.Text()}

    def make(split, i):
        return {"image": volume(split, i, (2, 3, 4)), "label": values[i], "name": "same"}

    prepare(tmp_path, features, make, {"train": 2})
    found = listed(tmp_path)
    assert [case.name for case in found] == ["train_00000", "train_00001"]
    assert sorted(case.target for case in found) == sorted(targets)


def test_masks_called_label_are_masks(tmp_path):
    features = {"t1": tensor((4, 5, 6)), "label": tensor((4, 5, 6), np.uint8)}

    def make(split, i):
        image = volume(split, i)
        return {"t1": image, "label": (image > 9).astype(np.uint8)}

    prepare(tmp_path, features, make, {"train": 1})
    (case,) = listed(tmp_path)
    assert case.target is None
    np.testing.assert_array_equal(voxels(case, mask=True), voxels(case) > 9)


def test_the_latest_version_and_the_only_config_are_taken(tmp_path, monkeypatch):
    features, shape = {"image": tensor((2, 3, 4))}, (2, 3, 4)
    for config, version in (("small", "1.9.0"), ("small", "1.10.0"), ("large", "1.0.0")):
        monkeypatch.setattr(Toy, "VERSION", tfds.core.Version(version))
        image = volume(version, 0, shape)
        chosen = tfds.core.BuilderConfig(name=config)
        prepare(tmp_path, features, _always({"image": image}), {"train": 1}, config=chosen)
        if config == "small":
            (case,) = listed(tmp_path)
            np.testing.assert_array_equal(voxels(case), image)
    assert listed(tmp_path, "toy/small:1.9.0")[0].images[0].parent.name == "1.9.0"
    with pytest.raises(UserError, match=r"'toy', of which .* configs \['large', 'small'\]"):
        listed(tmp_path)
    with pytest.raises(UserError, match=r"toy/small holds the versions .*, not 2\.0\.0"):
        listed(tmp_path, "toy/small:2.0.0")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", r"config\.data\.name is '': expected <data set>"),
        ("toy:train:", r"asks .*/toy/1\.0\.0 for 'train:', which is no slice"),
        ("toy:train[:80%", r"'train\[:80%', which is no slice of its splits {.*'train': 5"),
        ("toy:dev", "for 'dev', which is no slice .* Unknown split 'dev'"),
        ("toy:train[2:9]", r"for 'train\[2:9\]', which is no slice"),
        ("toy:train[3:2]", "source 'tfds' lists no case"),
        ("toy:train+train[:1]", "two cases are named"),
        ("ucf101", "holds no data set 'ucf101', .* `tfds build ucf101 --file_format=array_record"),
        ("toy/none", "holds no data set 'toy/none'"),
        ("med_mnist3d", "holds no med_mnist3d: .* one of organ_28, .* can be prepared"),
        ("volume_folder/knees", "holds no volume_folder/knees: expected what is prepared there"),
        ("brats_2018", r"nor are the files .* in .*downloads/manual: Register at .* HGG and LGG"),
    ],
)
def test_a_name_that_finds_nothing_is_one_sentence(toy, name, said):
    with pytest.raises(UserError, match=said) as refused:
        listed(toy, name)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"image": tensor((8, 8)), "label": np.int64}, r"no volume, only \['image', 'label'\]"),
        ({"mask": tensor((4, 5, 6))}, r"declares no volume, only \['mask'\]"),
        ({"t1": tensor((4, 5, 6)), "t2": tensor((4, 5, 6))}, r"several volumes, \['t1', 't2'\]"),
    ],
)
def test_features_without_a_volume_are_refused(tmp_path, features, said):
    zeros = {
        name: np.zeros(feature.shape, np.int16) if feature is not np.int64 else 0
        for name, feature in features.items()
    }
    prepare(tmp_path, features, _always(zeros), {"train": 1})
    with pytest.raises(UserError, match=said):
        listed(tmp_path)


def _only_tfrecord(folder):
    file = folder / "dataset_info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"fileFormat": "tfrecord"}))


def _garble(folder):
    (shard,) = folder.glob("*array_record*")
    content = shard.read_bytes()
    shard.write_bytes(content[:90] + bytes(200) + content[290:])


def test_an_example_is_told_by_the_file_that_holds_it(tmp_path):
    def make(split, i):
        return {"image": volume(split, i)}

    home = prepare(tmp_path / "a", {"image": tensor((4, 5, 6))}, make)

    def digests_of(root):
        with remembered(tmp_path, keep=False) as digests:
            cases = listed(root)
            return {case.name: digest_of(case.images[0], case.row, digests) for case in cases}

    known = digests_of(tmp_path / "a")
    assert len({*known.values()}) == len(known)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert digests_of(tmp_path / "b") == known
    (shard,) = home.glob("*-test.array_record*")
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")  # behind the examples
    changed = {name for name, digest in digests_of(tmp_path / "a").items() if digest != known[name]}
    assert changed and all(name.startswith("test") for name in changed)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_only_tfrecord, r"is prepared as tfrecord only: .* `tfds convert_format .*array_record`"),
        (lambda folder: (folder / "features.json").unlink(), "beside it cannot be read"),
        (lambda folder: (folder / "dataset_info.json").write_text("{"), "cannot be read"),
        (lambda folder: next(folder.glob("*array_record*")).unlink(), r"example 0 .* is damaged"),
        (_garble, r"example 0 of 'train' in .* is damaged"),
    ],
)
def test_spoilt_files_are_one_sentence(tmp_path, spoil, said):
    make = _always({"image": volume("", 0)})
    spoil(prepare(tmp_path, {"image": tensor((4, 5, 6))}, make, {"train": 1}))
    with pytest.raises(UserError, match=said) as refused:
        listed(tmp_path)
    assert "\n" not in str(refused.value)


def test_it_needs_neither_tensorflow_nor_jax_and_is_imported_when_asked_for(toy):
    read = f"""
import sys
from pathlib import Path
from rubik_jax.data import sources
from rubik_jax.data.cases import Where
from rubik_jax.data.digests import remembered
assert "tensorflow_datasets" not in sys.modules
case = sources.find_cases("tfds", Where(Path({str(toy)!r}), name="toy:test")).cases[0]
from rubik_jax.data.formats.records import open_record
open_record(case.images[0], case.row, False).voxels()
assert not sys.modules.keys() & {{"tensorflow", "jax", "torch"}}
"""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", read], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
