"""A folder holds one run, and what is written there is whole."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from rubik_jax import workdir
from rubik_jax.errors import RunError, UserError

CONFIG = {"seed": 0, "optim": {"name": "adamw", "rate": 0.001}, "widths": [4, 8]}
OTHER = CONFIG | {"optim": {"name": "adamw", "rate": 0.01}}
SPLIT = {"train": ["a", "b"], "validation": ["c"], "test": []}


@pytest.fixture
def run(tmp_path):
    """A run with a checkpoint."""
    folder = tmp_path / "run"
    workdir.begin(folder, CONFIG, SPLIT)
    (folder / "checkpoints" / "10").mkdir(parents=True)
    return folder


def test_the_same_config_may_go_on(run):
    workdir.check(run, CONFIG)
    workdir.begin(run, CONFIG, SPLIT)
    assert workdir.read(run / workdir.CONFIG) == CONFIG
    assert workdir.read(run / workdir.SPLIT) == SPLIT


def test_another_config_is_refused_with_both_values(run):
    with pytest.raises(UserError, match=r"config\.optim\.rate=0\.001, not 0\.01; expected"):
        workdir.check(run, OTHER)
    with pytest.raises(UserError, match=r"config\.seed=0, not 1 \(and 1 more knob\)"):
        workdir.check(run, OTHER | {"seed": 1})


@pytest.mark.parametrize(
    ("change", "said"),
    [({"new": 1}, r"new=None, not 1"), ({"widths": [4]}, r"widths=\[4, 8\], not \[4\]")],
)
def test_a_knob_that_is_new_or_a_list_counts(run, change, said):
    with pytest.raises(UserError, match=said):
        workdir.check(run, CONFIG | change)


@pytest.mark.parametrize("leftover", [None, "5.orbax-checkpoint-tmp"])
def test_before_the_first_checkpoint_another_config_may_take_the_place(tmp_path, leftover):
    workdir.begin(tmp_path, CONFIG, SPLIT)
    if leftover:
        (tmp_path / "checkpoints" / leftover).mkdir(parents=True)
    workdir.check(tmp_path, OTHER)
    workdir.begin(tmp_path, OTHER, {"train": ["z"]})
    assert workdir.read(tmp_path / workdir.CONFIG) == OTHER
    assert workdir.read(tmp_path / workdir.SPLIT) == {"train": ["z"]}


def test_a_knob_that_follows_another_is_not_blamed(run):
    """As optim.warmup follows steps: what lies deeper comes second."""
    changed = CONFIG | {"widths": [4, 9], "optim": CONFIG["optim"] | {"rate": 0.5}}
    with pytest.raises(UserError, match=r"config\.widths=.* \(and 1 more knob\)"):
        workdir.check(run, changed)


def test_how_many_windows_are_predicted_at_a_time_makes_no_other_run(run):
    config = CONFIG | {"inference": {"batch_size": 4, "overlap": 0.5}}
    workdir.begin(run, config, SPLIT)
    workdir.check(run, config | {"inference": {"batch_size": 1, "overlap": 0.5}})
    with pytest.raises(UserError, match=r"config\.inference\.overlap=0\.5, not 0"):
        workdir.check(run, config | {"inference": {"batch_size": 1, "overlap": 0}})


def test_a_link_to_nothing_is_no_folder_of_a_run(tmp_path):
    (tmp_path / "run").symlink_to("nowhere")
    with pytest.raises(UserError, match="run is a link to nothing; expected a folder"):
        workdir.check(tmp_path / "run", CONFIG)


def test_a_split_that_changed_since_the_run_began_is_refused(run):
    with pytest.raises(UserError, match=r"split\.json no longer fits the cohort"):
        workdir.begin(run, CONFIG, SPLIT | {"train": ["a", "b", "d"]})
    assert workdir.read(run / workdir.SPLIT) == SPLIT
    workdir.begin(run, CONFIG, {part: tuple(names) for part, names in SPLIT.items()})


@pytest.mark.parametrize("below", ["", "run"])
def test_a_file_is_no_folder(tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--workdir=.*file"):
        workdir.check(tmp_path / "file" / below, CONFIG)


def test_a_folder_of_other_things_is_refused_and_an_empty_one_is_not(tmp_path):
    workdir.check(tmp_path, CONFIG)
    workdir.check(tmp_path / "new" / "run", CONFIG)
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(UserError, match=r"has files but no config\.json"):
        workdir.check(tmp_path, CONFIG)


@pytest.mark.parametrize("below", ["", "new/run"])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch, below):
    monkeypatch.setattr(os, "access", lambda path, mode: os.fspath(path) != str(tmp_path))
    with pytest.raises(UserError, match="can't be written; expected a folder that can"):
        workdir.check(tmp_path / below, CONFIG)


def test_json_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a" / "results.json"
    workdir.write(path, {"b": 1})
    with pytest.raises(TypeError):
        workdir.write(path, {"b": 2, "c": object()})
    assert workdir.read(path) == {"b": 1}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(
        RunError, match=r"no space left on the disk of .*results\.json .*needed, .*free"
    ):
        workdir.write(path, {"b": 3})
    assert json.loads(path.read_text()) == {"b": 1}


def test_several_may_write_the_same_file(tmp_path):
    path, content = tmp_path / "config.json", {"knobs": [*range(500)]}
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda _: workdir.write(path, content), range(200)):
            assert workdir.read(path) == content
    assert os.listdir(tmp_path) == [path.name]


def test_what_is_no_run_or_no_json_is_told(tmp_path):
    with pytest.raises(UserError, match=r"is not a run: it has no config\.json"):
        workdir.read(tmp_path / "config.json")
    (tmp_path / "config.json").write_text('{"a": ')
    with pytest.raises(UserError, match=r"config\.json is not JSON"):
        workdir.read(tmp_path / "config.json")


def test_knobs_have_dotted_names():
    assert workdir.flat(CONFIG) == {
        "seed": 0,
        "optim.name": "adamw",
        "optim.rate": 0.001,
        "widths": [4, 8],
    }


def test_a_run_from_before_a_knob_goes_on_as_it_did_without(run):
    old = CONFIG | {"model": {"encoder": {"widths": [4], "dtype": "float32"}}}
    now = CONFIG | {"model": {"encoder": old["model"]["encoder"] | {"remat": "none"}}}
    workdir.write(run / workdir.CONFIG, old)
    workdir.check(run, now)
    assert workdir.settled(run) == now
    now["model"]["encoder"]["remat"] = "stages"
    with pytest.raises(UserError, match="remat=none, not stages"):
        workdir.check(run, now)
    workdir.write(run / workdir.CONFIG, {"data": {"source": "folder"}})
    assert workdir.settled(run)["data"]["geometry"] == "affine"
    workdir.write(run / workdir.CONFIG, {"model": {"heads": "tied"}})
    assert workdir.settled(run)["model"]["pooling"] == "none"


GEOMETRY = {"geometry": "affine"}


@pytest.mark.parametrize("name", ["path", "store", "compress", "workers"])
def test_what_does_not_define_a_run_does_not_block_it(run, name):
    for then, now in (("one", "two"), (None, "two")):
        workdir.write(run / workdir.CONFIG, CONFIG | {"data": {name: then} | GEOMETRY})
        workdir.check(run, CONFIG | {"data": {name: now} | GEOMETRY})
    data = {name: "two"} | GEOMETRY
    workdir.begin(run, CONFIG | {"data": data}, SPLIT)  # as it is found from now on
    assert workdir.read(run / workdir.CONFIG)["data"] == data


def differing(run, then, now):
    return workdir.differing(run, {"init_from": then}, {"init_from": now})


def test_one_place_by_two_paths_is_no_difference(run, monkeypatch):
    home = run.parent
    monkeypatch.chdir(home)
    (home / "link").symlink_to(home / "pre")
    for now in ("pre", "./pre", "run/../pre", "link", str(home / "pre")):
        assert not differing(run, "pre", now)
    for then, now in (("pre", "post"), (None, "pre"), ("pre", None), ("", "pre")):
        assert differing(run, then, now) == ["init_from"]


def test_a_place_may_have_moved_together_with_the_run(run):
    home = run.parent
    assert not differing(run, "/scratch/one/pre", f"{home}/pre")
    assert not differing(run, "/scratch/one/runs/pre", f"{home}/runs/pre")
    assert differing(run, "/scratch/one/pre", f"{home}/post")
    assert differing(run, "/scratch/one/pre", "/scratch/two/pre")
    (home / "one" / "pre").mkdir(parents=True)
    assert differing(run, f"{home}/one/pre", f"{home}/pre")  # which are two


def test_paths_are_made_absolute_and_nothing_else_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    data = {"path": "scans", "store": "~/store", "masks": "*_mask.nii.gz", "labels": "classes.csv"}
    split = {"file": "parts.csv", "run": None}
    config = {"init_from": "/runs/a", "data": data | {"split": split}, "segment": {"data": data}}
    assert workdir.rooted(config) == {
        "init_from": "/runs/a",
        "data.path": f"{tmp_path}/scans",
        "data.store": "/home/me/store",
        "data.split.file": f"{tmp_path}/parts.csv",
        "segment.data.path": f"{tmp_path}/scans",
        "segment.data.store": "/home/me/store",
    }


@pytest.mark.parametrize(
    ("name", "source", "preset", "core"),
    [
        ("none", "folder", "none", None),
        ("brats", "brats", "brats", None),
        ("brats", "msd", "none", [1, 3, 4]),
    ],
)
@pytest.mark.parametrize("plan", [False, True])
def test_a_run_from_before_regions_were_declared_keeps_its_own(
    run, name, source, preset, core, plan
):
    old = {"data": {"source": source}, "evaluate": {"repeats": 2, "regions": name}}
    workdir.write(run / workdir.CONFIG, {"segment": old} if plan else old)
    settled = workdir.settled(run)
    settled = settled["segment"] if plan else settled
    assert settled["evaluate"] == {"repeats": 2}
    assert (settled["regions"]["preset"], settled["regions"]["train"]) == (preset, False)
    assert dict(settled["regions"]["define"]).get("core") == core
