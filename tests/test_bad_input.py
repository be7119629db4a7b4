"""Whatever is wrong with the data ends in one sentence that names it, and nothing is half done.

`python -m tests.test_bad_input` writes the table of all of them into docs/bad_input.md.
"""

import contextlib
import gzip
import io
import json
import locale
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from rubik_jax.main import main
from tests.data.dicom_files import frames, write

SIZE = (15, 14, 13)
AFFINE = np.diag([-1.0, 1, 2, 1])
CASES = "abcd"
VOXELS = np.random.default_rng(0).integers(0, 900, (5, 14, 15)).astype(np.int16)


def scan(
    path: Path, array: np.ndarray | None = None, affine: np.ndarray = AFFINE, **header
) -> Path:
    """Writes a volume, by default a sound one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if array is None:
        array = np.random.default_rng(list(path.name.encode())).integers(0, 900, SIZE, np.int16)
    image = nib.Nifti1Image(array, affine)
    for field, value in header.items():
        image.header[field] = value
    nib.save(image, path)
    return path


def mask(path: Path, array: np.ndarray | None = None, affine: np.ndarray = AFFINE) -> Path:
    return scan(
        path, (np.indices(SIZE).sum(0) % 3).astype(np.uint8) if array is None else array, affine
    )


def sound(root: Path) -> Path:
    """A folder of four scans with masks and classes, in which nothing is wrong."""
    for case in CASES:
        scan(root / "scans" / f"{case}.nii.gz")
        mask(root / "masks" / f"{case}.nii.gz")
    rows = [f"{case},{'ill' if case in 'ac' else 'well'}\n" for case in CASES]
    (root / "classes.csv").write_text("".join(["case,class\n", *rows]))
    return root


class Kind(NamedTuple):
    """A kind of bad input.

    spoil: makes it of a sound folder.
    words: that the sentence has.
    more: arguments of the command, in which {root} is the folder.
    task: whose config is used.
    """

    spoil: Callable[[Path], object]
    words: tuple[str, ...]
    more: tuple[str, ...] = ()
    task: str = "segment"


IMAGE, MASK = "scans/b.nii.gz", "masks/b.nii.gz"
CLASSES = ("--config.data.labels=classes.csv",)
OTHER = ("--config.data.path={root}/other", "--config.data.modalities=()")  # all that can be read


def edited(path: Path, offset: int, content: bytes) -> None:
    """Writes bytes into what a gzip holds."""
    held = bytearray(gzip.decompress(path.read_bytes()))
    held[offset : offset + len(content)] = content
    path.write_bytes(gzip.compress(bytes(held)))


def cut(path: Path, left: int) -> None:
    path.write_bytes(path.read_bytes()[:left])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def instead(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def with_value(value: float, count: int = 2) -> np.ndarray:
    array = np.random.default_rng(0).random(SIZE).astype(np.float32)
    array.flat[:count] = value
    return array


def sheared() -> np.ndarray:
    affine = AFFINE.copy()
    affine[:3, 2] = affine[:3, 1]
    return affine


def shifted(by: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] += by
    return affine


def other(root: Path, name: str, content: bytes = b"") -> Path:
    """A file in a folder of its own, which alone is looked at."""
    path = root / "other" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def saved(
    root: Path, save: Callable[..., object], name: str, *arrays: object, **named: object
) -> Path:
    path = other(root, name)
    with path.open("wb") as file:
        save(file, *arrays, **named)
    return path


def written(root: Path, name: str, part: str) -> None:
    """A volume in two files of which the one with the voxels is gone."""
    path = other(root, name)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(with_value(1.0)), str(path))
    (path.parent / part).unlink()


def series(root: Path, places: list[float], **changed: dict[int, str]) -> None:
    """DICOM slices at those places along z, mm; `changed` are tags of some of them, by number."""
    home = root / "other" / "series"
    home.mkdir(parents=True)
    kept = locale.setlocale(locale.LC_ALL)  # which ITK's writer changes for the whole process
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, place in enumerate(places):
        voxels = np.random.default_rng(number).integers(0, 900, (1, 14, 15), np.int16)
        image = SimpleITK.GetImageFromArray(voxels)
        tags = {
            "0008|0060": "MR",
            "0020|000d": "1.2.3",
            "0020|000e": "1.2.3.4",
            "0020|0013": str(number),
            "0020|0032": f"0\\0\\{place}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0028|0030": "1\\1",
        }
        for tag, value in (tags | changed.get(f"slice{number}", {})).items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(home / f"{number:03d}.dcm"))
        writer.Execute(image)
    locale.setlocale(locale.LC_ALL, kept)


def declared(root: Path, **changed: object) -> None:
    """The masks hold a label that dataset.json doesn't know."""
    listed = [{"image": f"./scans/{c}.nii.gz", "label": f"./masks/{c}.nii.gz"} for c in CASES]
    about = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "bleed"}}
    (root / "dataset.json").write_text(json.dumps(about | {"training": listed} | changed))


DECLARED = ("--config.data.source=msd", "--config.data.modalities=()", "--config.data.masks=")


def counted(root: Path) -> None:
    """Of three cases that dataset.json counts one is there."""
    (root / "imagesTr").mkdir()
    (root / "scans" / "a.nii.gz").rename(root / "imagesTr" / "a_0000.nii.gz")
    declared(root, training=[], file_ending=".nii.gz", numTraining=3)


KINDS = {
    "gzip cut short": Kind(lambda r: cut(r / IMAGE, 900), (IMAGE, "cut short")),
    "gzip with a flipped bit": Kind(lambda r: flipped(r / IMAGE), (IMAGE, "damaged")),
    "header that promises 10^12 voxels": Kind(
        lambda r: edited(r / IMAGE, 42, np.array([10000] * 3, np.int16).tobytes()),
        (IMAGE, "10000x10000x10000", "more than it can hold"),
    ),
    "NaN voxels": Kind(lambda r: scan(r / IMAGE, with_value(np.nan)), (IMAGE, "2 voxels", "NaN")),
    "infinite voxels": Kind(lambda r: scan(r / IMAGE, with_value(np.inf)), (IMAGE, "infinite")),
    "constant image": Kind(
        lambda r: scan(r / IMAGE, np.full(SIZE, 7, np.int16)), (IMAGE, "constant", "7")
    ),
    "2D image": Kind(lambda r: scan(r / IMAGE, np.eye(20)), (IMAGE, "2D", "20x20")),
    "4D series": Kind(lambda r: scan(r / IMAGE, np.random.rand(*SIZE, 5)), (IMAGE, "4D", "x5")),
    "RGB colours": Kind(
        lambda r: scan(r / IMAGE, np.zeros(SIZE, [("R", "u1"), ("G", "u1"), ("B", "u1")])),
        (IMAGE, "RGB"),
    ),
    "complex values": Kind(
        lambda r: scan(r / IMAGE, with_value(1).astype(np.complex64)), (IMAGE, "complex")
    ),
    "header of another byte order, in part": Kind(
        lambda r: edited(r / IMAGE, 40, b"\0\x03"), (IMAGE, "cannot be read")
    ),
    "spacing of a kilometre": Kind(
        lambda r: scan(r / IMAGE, affine=np.diag([1e6, 1, 1, 1])), (IMAGE, "1e+06 x 1 x 1 mm")
    ),
    "spacing of nothing": Kind(
        lambda r: [edited(r / IMAGE, 84, bytes(4)), edited(r / IMAGE, 252, b"\1\0\0\0")],
        (IMAGE, "voxels of 1 x 0 x 2 mm"),
    ),
    "singular affine": Kind(lambda r: scan(r / IMAGE, affine=sheared()), (IMAGE, "singular")),
    "no affine": Kind(
        lambda r: edited(r / IMAGE, 252, bytes(4)), (IMAGE, "no affine", "left and right")
    ),
    "empty file": Kind(lambda r: cut(r / IMAGE, 0), (IMAGE, "empty")),
    "text called .nii.gz": Kind(
        lambda r: (r / IMAGE).write_text("patient b, see letter " * 30), (IMAGE,)
    ),
    "link to nothing": Kind(
        lambda r: instead(r / IMAGE, lambda p: p.symlink_to("gone.nii.gz")), (IMAGE, "link")
    ),
    "folder called .nii.gz": Kind(
        lambda r: instead(r / IMAGE, lambda p: p.mkdir()), (IMAGE, "folder")
    ),
    "same case twice": Kind(
        lambda r: scan(r / "scans" / "b.nii"),
        ("scans/b.nii", "'b'"),
        ("--config.data.modalities=('scans/*',)",),
    ),
    "mask a voxel larger": Kind(
        lambda r: mask(r / MASK, np.ones((15, 14, 14), np.uint8)), (MASK, "15x14x14", "15x14x13")
    ),
    "mask half a voxel off": Kind(
        lambda r: mask(r / MASK, affine=shifted(0.5)), (MASK, "affine", "0.5 mm")
    ),
    "label that isn't declared": Kind(
        declared,
        ("masks/a.nii.gz", "[2]", "not declare", "[0, 1]"),
        ("--config.data.source=msd", "--config.data.modalities=()", "--config.data.masks="),
    ),
    "mask of fractions": Kind(
        lambda r: mask(r / MASK, with_value(0.25)), (MASK, "not whole numbers")
    ),
    "negative labels": Kind(
        lambda r: mask(r / MASK, np.full(SIZE, -1, np.int16)), (MASK, "-1", "expected 0 to 32767")
    ),
    "labels beyond all measure": Kind(
        lambda r: mask(r / MASK, np.full(SIZE, 70000, np.int32)), (MASK, "70000")
    ),
    "masks of other cases": Kind(
        lambda r: [
            (r / "masks" / f"{c}.nii.gz").rename(r / "masks" / f"x{c}.nii.gz") for c in CASES
        ],
        ("'xa'", "'a'"),
    ),
    "modality that a case lacks": Kind(
        lambda r: scan(r / "t2" / "a.nii.gz"),
        ("'b'", "t2/*.nii.gz", "3 of 4"),
        ("--config.data.modalities=('scans/*.nii.gz','t2/*.nii.gz')",),
    ),
    "modality on another grid": Kind(
        lambda r: [scan(r / "t2" / f"{c}.nii.gz", affine=shifted(3)) for c in CASES],
        ("t2/a.nii.gz", "3 mm", "one grid"),
        ("--config.data.modalities=('scans/*.nii.gz','t2/*.nii.gz')",),
    ),
    "table with a case that isn't there": Kind(
        lambda r: (r / "classes.csv").write_text("case,class\na,ill\nz,well\n"),
        ("classes.csv", "'z'"),
        CLASSES,
        "classify",
    ),
    "table with a case twice": Kind(
        lambda r: (r / "classes.csv").write_text("case,class\na,ill\na,well\n"),
        ("classes.csv", "'a'", "twice"),
        CLASSES,
        "classify",
    ),
    "table with other columns": Kind(
        lambda r: (r / "classes.csv").write_text("id;diagnosis\na;ill\n"),
        ("classes.csv", "diagnosis", "expected"),
        CLASSES,
        "classify",
    ),
    "spreadsheet in place of the table": Kind(
        lambda r: (r / "classes.csv").write_bytes(b"PK\x03\x04" + bytes(range(256))),
        ("classes.csv",),
        CLASSES,
        "classify",
    ),
    "table in UTF-16": Kind(
        lambda r: (r / "classes.csv").write_text("case,class\na,ill\n", encoding="utf-16"),
        ("classes.csv", "UTF-8"),
        CLASSES,
        "classify",
    ),
    "DICOM series with a slice missing": Kind(
        lambda r: series(r, [0, 2, 4, 8, 10]), ("series", "missing"), OTHER, "pretrain"
    ),
    "two DICOM series in one folder": Kind(
        lambda r: series(
            r,
            [0, 2, 4, 0, 2, 4],
            **{
                f"slice{n}": {"0020|000e": "1.2.3.5", "0020|0037": "0\\1\\0\\0\\0\\1"}
                for n in (3, 4, 5)
            },
        ),
        ("series",),
        (*OTHER[:1], "--config.data.modalities=('series',)"),
        "pretrain",
    ),
    "DICOM slices twice at one place": Kind(
        lambda r: series(r, [0, 2, 4, 4]), ("series", "4"), OTHER, "pretrain"
    ),
    "pickled objects in .npz": Kind(
        lambda r: saved(r, np.savez, "a.npz", image=np.array([{"a": 1}], object)),
        ("a.npz", "objects"),
        OTHER,
        "pretrain",
    ),
    "pickled objects in .npy": Kind(
        lambda r: saved(r, np.save, "a.npy", np.array([{"a": 1}], object)),
        ("a.npy", "objects"),
        OTHER,
        "pretrain",
    ),
    "npy cut short": Kind(
        lambda r: cut(saved(r, np.save, "a.npy", with_value(1)), 500),
        ("a.npy", "cut short"),
        OTHER,
        "pretrain",
    ),
    "npz of several arrays": Kind(
        lambda r: saved(r, np.savez, "a.npz", one=with_value(1), two=with_value(2)),
        ("a.npz", "one", "two"),
        OTHER,
        "pretrain",
    ),
    "nhdr without its voxels": Kind(
        lambda r: written(r, "a.nhdr", "a.raw"), ("a.nhdr", "a.raw"), OTHER, "pretrain"
    ),
    "mhd without its voxels": Kind(
        lambda r: written(r, "a.mhd", "a.raw"), ("a.mhd", "a.raw"), OTHER, "pretrain"
    ),
    "empty folder": Kind(
        lambda r: (r / "other").mkdir(), ("other", "empty folder"), OTHER, "pretrain"
    ),
    "folder without a volume": Kind(
        lambda r: other(r, "letter.txt", b"Dear colleague"), ("other",), OTHER, "pretrain"
    ),
    "path to nowhere": Kind(lambda r: None, ("nowhere",), ("--config.data.path={root}/nowhere",)),
    "glob that matches nothing": Kind(
        lambda r: None, ("*.nrrd",), ("--config.data.modalities=('scans/*.nrrd',)",)
    ),
    "window that leaves nothing": Kind(
        lambda r: None,
        ("'a'", "config.data.intensity"),
        (
            "--config.data.intensity.kind=window",
            "--config.data.intensity.low=5000.0",
            "--config.data.intensity.high=6000.0",
        ),
    ),
    "spacing that nobody could hold": Kind(
        lambda r: None,
        ("0.0001",),
        (
            "--config.data.resample.kind=value",
            "--config.data.resample.spacing=(0.0001,0.0001,0.0001)",
        ),
    ),
    "axes that there aren't": Kind(
        lambda r: None, ("config.data.orientation", "'RAX'"), ("--config.data.orientation=RAX",)
    ),
    "unknown source": Kind(lambda r: None, ("'dicom'", "folder"), ("--config.data.source=dicom",)),
    "unknown data set": Kind(
        lambda r: None,
        ("no_such_set",),
        ("--config.data.source=tfds", "--config.data.name=no_such_set:train"),
    ),
    "frames of DICOM with one missing": Kind(
        lambda r: frames(r / "other" / "e.dcm", VOXELS, [0, 2, 4, 8, 10]),
        ("e.dcm", "missing", "frame 3 and frame 4"),
        OTHER,
        "pretrain",
    ),
    "frames of DICOM twice at one place": Kind(
        lambda r: frames(r / "other" / "e.dcm", VOXELS, [0, 2, 4, 4, 6]),
        ("e.dcm", "frame 3 and frame 4"),
        OTHER,
        "pretrain",
    ),
    "frames of DICOM without a place": Kind(
        lambda r: write(r / "other" / "u.dcm", "Ultrasound Multi-frame", VOXELS),
        ("u.dcm", "place"),
        OTHER,
        "pretrain",
    ),
    "DICOM without an image": Kind(
        lambda r: write(r / "other" / "RS.dcm", "RT Structure Set"),
        ("RS.dcm (RT Structure Set)",),
        OTHER,
        "pretrain",
    ),
    "table with two columns of classes": Kind(
        lambda r: (r / "classes.csv").write_text("case,class,Class\na,ill,well\n"),
        ("classes.csv", "'class'", "'Class'"),
        CLASSES,
        "classify",
    ),
    "table without a class": Kind(
        lambda r: (r / "classes.csv").write_text("case,class\na,NaN\nb,None\nc,\n"),
        ("classes.csv", "'NaN' (a), 'None' (b), empty (c), no row (d)"),
        CLASSES,
        "classify",
    ),
    "geometry that there isn't": Kind(
        lambda r: None, ("config.data.geometry", "'itk'"), ("--config.data.geometry=itk",)
    ),
    "label that is both ignored and another": Kind(
        lambda r: declared(r, labels={"background": 0, "bleed": 1, "ignore": 1}),
        ("'ignore' as 1", "no other label"),
        DECLARED,
    ),
    "background that isn't 0": Kind(
        lambda r: declared(r, labels={"bleed": 0, "background": 1}),
        ("declares the background as 1",),
        DECLARED,
    ),
    "order of other regions": Kind(
        lambda r: declared(
            r, labels={"background": 0, "all": [1, 2], "core": 2}, regions_class_order=[1]
        ),
        ("1 labels in 'regions_class_order' for 2 regions",),
        DECLARED,
    ),
    "data set of flat pictures": Kind(
        lambda r: declared(r, overwrite_image_reader_writer="NaturalImage2DIO"),
        ("flat pictures (NaturalImage2DIO)",),
        DECLARED,
    ),
    "fewer cases than dataset.json counts": Kind(
        counted, ("counts 3 training cases", "imagesTr holds 1"), DECLARED
    ),
    "npy of records": Kind(
        lambda r: saved(r, np.save, "a.npy", np.zeros((4, 5, 6), [("a", "<f4"), ("b", "<i2")])),
        ("a.npy", "records", "one number a voxel"),
        OTHER,
        "pretrain",
    ),
}


def command(root: Path, kind: Kind) -> list[str]:
    usual = [
        f"--workdir={root}/run",
        "--config.data.path={root}",
        "--config.data.modalities=('scans/*.nii.gz',)",
        *(["--config.data.masks=masks/*.nii.gz"] if kind.task == "segment" else []),
        f"--config.data.store={root}/store",
    ]
    given = {argument.partition("=")[0] for argument in kind.more}
    usual = [argument for argument in usual if argument.partition("=")[0] not in given]
    config = f"--config=configs/{kind.task}.py:cohort=folder,debug"
    arguments = [argument.replace("{root}", str(root)) for argument in (*usual, *kind.more)]
    return ["main", "--mode=prepare", config, *arguments]


def said(kind: Kind, root: Path) -> tuple[int, str]:
    """The exit status, and what was said on standard error."""
    kind.spoil(sound(root))
    with contextlib.redirect_stderr(io.StringIO()) as error:
        status = main(command(root, kind))
    return status, error.getvalue()


@pytest.mark.parametrize("what", KINDS)
def test_bad_input_gets_one_sentence_and_status_2(tmp_path, capsys, what):
    root = tmp_path / "data"
    status, sentence = said(KINDS[what], root)
    assert status == 2
    assert sentence.count("\n") == 1 and sentence.startswith("rubik_jax: "), sentence
    assert all(word in sentence for word in KINDS[what].words), sentence
    assert not (root / "run").exists()
    assert not list((root / "store").glob("*.tmp"))


DOCUMENT = Path(__file__).parents[1] / "docs" / "bad_input.md"
HEADING = "## Files and knobs\n"
INTRODUCTION = """
Each was made of a sound folder and given to `--mode=prepare`; training refuses it in the same
words. With `--config.data.on_bad=skip` cases that can't be used are left out instead, and listed
with what is printed here. Nothing is lost. The test of each row is
`tests/test_bad_input.py::test_bad_input_gets_one_sentence_and_status_2`; this part is written by
`python -m tests.test_bad_input`.
"""


def test_every_row_names_a_test_that_there_is():
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", DOCUMENT.read_text(encoding="utf-8"))
    assert len(named) > 30
    for file, test in named:
        text = (DOCUMENT.parents[1] / file).read_text(encoding="utf-8")
        assert f"\ndef {test}(" in text, f"{file}::{test}"


def report() -> str:
    """The document with the table of all kinds anew."""
    by_hand = DOCUMENT.read_text(encoding="utf-8").partition(HEADING)[0]
    rows = [by_hand + HEADING + INTRODUCTION]
    rows += ["| input | status | what is printed |", "| --- | --- | --- |"]
    for what, kind in KINDS.items():
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            status, sentence = said(kind, Path(folder) / "data")
        sentence = (
            sentence.removeprefix("rubik_jax: ")
            .strip()
            .replace(f"{folder}/data", "DATA")
            .replace("DATA/", "")
        )
        rows.append(f"| {what} | {status} | {sentence.replace('|', chr(92) + '|')} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(report(), encoding="utf-8")
