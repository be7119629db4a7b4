"""A run goes on with the cases that it was begun with, wherever they lie, and with no others."""

import json
import os
import shutil
import signal
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from rubik_jax import checkpoints
from rubik_jax.data.identity import Content
from rubik_jax.data.store import Store
from rubik_jax.errors import Interrupted, UserError
from rubik_jax.main import main
from rubik_jax.modes.comparing import changes, described, note_changed

REPOSITORY = Path(__file__).parents[1]
CASES = "abcdef"
COMMAND = [
    "main",
    f"--config={REPOSITORY / 'configs' / 'pretrain.py'}:cohort=folder,debug",
    "--workdir=run",
    "--config.data.path=scans",
    "--config.data.store=store",
    "--config.data.modalities=('?.nii.gz',)",
    "--config.data.masks=?_mask.nii.gz",
    "--config.steps=1",
    "--config.every.evaluate=1",
    "--config.every.checkpoint=1",
    "--config.proxy.cube=(6,6,6)",
    "--config.proxy.gap=(1,1,1)",
    "--config.model.encoder.widths=(4,)",
    "--config.model.encoder.convs=(1,)",
    "--config.model.encoder.strides=((2,2,2),)",
]
EVALUATE = ["main", "--mode=evaluate", "--workdir=run"]


def write(path: Path, array: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(array, np.diag([-1, 2, 3, 1])), path)


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """A folder with scans, their masks, and a run that was interrupted after its last step."""
    home = tmp_path_factory.mktemp("home")
    (home / "scans").mkdir()
    for i, case in enumerate(CASES):
        array = np.random.default_rng(i).random((15, 14, 13), np.float32)
        write(home / "scans" / f"{case}.nii.gz", array)
        write(home / "scans" / f"{case}_mask.nii.gz", (array > 0.5).astype(np.uint8))

    def interrupted(*_: object) -> None:
        raise Interrupted(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setattr("rubik_jax.modes.training.report", interrupted)
        assert main(COMMAND) == 130
    return home


@pytest.fixture
def home(begun, tmp_path, monkeypatch) -> Path:
    """A copy, in which the process stands; what evaluates is left out."""
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace(str(begun), str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    for where in ("training", "evaluating"):
        monkeypatch.setattr(f"rubik_jax.modes.{where}.report", lambda *_: None)
    return tmp_path


def change(path: Path) -> None:
    """Writes other voxels, which size and time don't show."""
    before = path.stat()
    image = nib.load(path)
    write(path, np.flip(np.asarray(image.dataobj), 0))
    with path.open("ab") as file:
        file.write(bytes(max(0, before.st_size - path.stat().st_size)))
    os.truncate(path, max(before.st_size, path.stat().st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def configured(home: Path) -> dict:
    return json.loads((home / "run" / "config.json").read_text())["data"]


def sentence(capsys) -> str:
    said = capsys.readouterr().err
    assert said.startswith("rubik_jax: ") and said.count("\n") == 1, said
    return said


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ("b.nii.gz", "case 'b' has another image since (1 of 6 cases changed)"),
        ("?_mask.nii.gz", "case 'a' has another mask since (6 of 6 cases changed)"),
    ],
)
def test_a_run_does_not_go_on_with_other_data(home, capsys, files, said):
    for path in (home / "scans").glob(files):
        change(path)
    before = (home / "run" / "config.json").read_text()
    for more in ([], ["--dry_run"]):
        assert main([*COMMAND, *more]) == 2
        expected = f"{said}; expected the same files, or another --workdir"
        assert expected in sentence(capsys)
    assert (home / "run" / "config.json").read_text() == before


def test_a_run_goes_on_with_data_that_moved(home, capsys):
    shutil.move("scans", "scratch")
    for path in (home / "scratch").iterdir():
        os.utime(path)
    moved = ["--config.data.path=scratch", "--config.data.store=new", "--config.data.workers=1"]
    given = {override.partition("=")[0] for override in moved}
    rest = [override for override in COMMAND if override.partition("=")[0] not in given]
    assert main([*rest, *moved]) == 0
    assert configured(home)["path"] == str(home / "scratch")
    assert configured(home)["store"] == str(home / "new")
    assert "note" not in capsys.readouterr().out


def test_what_else_differs_is_another_run(home, capsys):
    assert main([*COMMAND, "--config.data.on_bad=skip"]) == 2
    assert "config.data.on_bad=fail, not skip" in sentence(capsys)


def test_paths_are_kept_as_seen_from_where_they_were_given(home, capsys, monkeypatch):
    assert configured(home)["path"] == str(home / "scans")
    assert configured(home)["store"] == str(home / "store")
    (home / "elsewhere").mkdir()
    monkeypatch.chdir(home / "elsewhere")
    assert main(["main", "--mode=evaluate", f"--workdir={home / 'run'}"]) == 0
    assert not list((home / "elsewhere").iterdir()) and "note" not in capsys.readouterr().out
    # A run that is older has them as they were given, and goes on from there.
    monkeypatch.chdir(home)
    config = home / "run" / "config.json"
    config.write_text(config.read_text().replace(f"{home}/", ""))
    assert main(COMMAND) == 0 and configured(home)["path"] == str(home / "scans")


def test_data_that_moved_are_evaluated_as_the_runs_own(home, capsys):
    shutil.copytree("scans", "scratch")
    shutil.rmtree("scans")
    for mode in ("evaluate", "embed"):
        moved = ["--config.data.path=scratch", "--config.data.workers=1"]
        assert main(["main", f"--mode={mode}", "--workdir=run", *moved]) == 0
        assert "note" not in capsys.readouterr().out
    table = (home / "run" / "embeddings" / "embeddings.csv").read_text().splitlines()
    assert {line.split(",")[1] for line in table[1:]} == {"train", "validation", "test"}
    for path in (home / "scratch").glob("?.nii.gz"):
        change(path)
    for mode in ("evaluate", "embed"):
        assert main(["main", f"--mode={mode}", "--workdir=run", *moved]) == 2
        said = sentence(capsys)
        assert f"config.data.path={home / 'scratch'} holds other data than the run had" in said
        assert "has another image" in said and "--output=FOLDER" in said


def test_test_cases_that_changed_are_named_and_evaluated(home, capsys):
    split = json.loads((home / "run" / "split.json").read_text())
    change(home / "scans" / f"{split['train'][0]}.nii.gz")
    assert main(EVALUATE) == 0
    assert "note" not in capsys.readouterr().out
    name = split["test"][0]
    change(home / "scans" / f"{name}_mask.nii.gz")
    assert main(EVALUATE) == 0
    said = capsys.readouterr().out
    assert f"note: 1 of {len(split['test'])} cases changed since the run was trained: case" in said
    assert f"case {name!r} has another mask; what follows is of the files as they are now" in said


def test_a_run_that_is_older_goes_on_with_a_note(home, capsys):
    for description in (home / "run").glob("*/1/description/metadata"):
        about = json.loads(description.read_text())
        assert about.pop("cases").keys() == {*CASES}
        description.write_text(json.dumps(about))
    change(home / "scans" / "b.nii.gz")
    for command in (COMMAND, EVALUATE):
        assert main(command) == 0
        assert "note: the run is older than the comparison" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (Content(["a", None], "m", "d"), ""),
        (Content(["a", "b"], "m", "d"), "another image (of its 2, the one at place 2)"),
        (Content(["a"], "m", "d"), "1 images, not 2,"),
        (Content(["a", None], "n", "d"), "another mask"),
        (Content(["a", None], None, "d"), "no mask"),
        (Content(["a", None], "m", "e"), "other labels or channels by its source"),
    ],
)
def test_what_changed_is_named(now, said):
    about = {"cases": {"x": Content(["a", None], "m", "d")._asdict()}}
    store = Store(Path(), ({"name": "x", "content": now._asdict()}, {"name": "y", "content": {}}))
    assert changes(about, store.only(["x"]), ["x", "y"]) == ({"x": said} if said else {})
    with pytest.raises(UserError, match=r"config\.data\.path=/b holds none of the cases"):
        note_changed(about, store.only(["x"]), ["y"], moved="/b")


def test_another_class_is_named_where_the_run_knew_it():
    content = Content(["a"], None, "d")
    store = Store(Path(), ({"name": "x", "content": content._asdict()},))
    about = {"cases": described(store, {"x": "well"})}
    assert changes(about, store, ["x"], {"x": "ill"}) == {"x": "the class 'ill', not 'well',"}
    assert changes(about, store, ["x"], {"x": "well"}) == {}
    del about["cases"]["x"]["target"]  # as of an older run
    assert changes(about, store, ["x"], {"x": "ill"}) == {}


def test_a_run_does_not_go_on_with_other_classes(home, capsys):
    def classes(flip: bool) -> None:
        rows = [f"{case},{'xy'[(i + flip) % 2]}" for i, case in enumerate(CASES)]
        (home / "classes.csv").write_text("\n".join(["case,class", *rows]))

    own = ("--config.model.encoder", "--config.data.path", "--config.data.store", "--config.steps")
    command = [
        "main",
        COMMAND[1].replace("pretrain", "classify"),
        "--workdir=classified",
        "--config.data.modalities=('?.nii.gz',)",
        f"--config.data.labels={home / 'classes.csv'}",
        "--config.window=(8,8,8)",
        *(each for each in COMMAND if each.startswith(own)),
    ]
    classes(False)
    assert main(command) == 0
    (home / "classified" / "results.json").unlink(missing_ok=True)  # as if it had been interrupted
    classes(True)
    capsys.readouterr()
    assert main(command) == 2
    assert "(6 of 6 cases changed); expected the same files" in (said := sentence(capsys))
    assert "case 'a' has the class 'y', not 'x', since" in said
    assert main(["main", "--mode=evaluate", "--workdir=classified"]) == 0
    assert "cases changed since the run was trained: case" in capsys.readouterr().out


def test_what_a_run_has_seen_is_known_by_what_it_holds(begun, capsys):
    seen = checkpoints.describe(checkpoints.find(begun / "run"))["seen"]
    digests = checkpoints.describe(checkpoints.find(begun / "run"))["cases"]
    assert seen == {name: digests[name]["images"][0] for name in seen} and len(seen) == 5
