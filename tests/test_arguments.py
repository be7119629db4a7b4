"""What people mistype: each mistake gets one sentence that helps, and status 2."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from configs import pretrain
from rubik_jax import __version__, arguments, manual, workdir
from rubik_jax.main import main

CONFIG = "--config=configs/pretrain.py:cohort=folder,debug"
HERE = [CONFIG, "--workdir=RUN"]


def files(folder: Path) -> None:
    """Configs that can't be used, and a run."""
    texts = {
        "syntax": "def get_config(:\n",
        "imports": "import nothing_of_that_name\n",
        "none": "x = 1\n",
        "raises": "def get_config():\n    return {}['a']\n",
        "exits": "import sys\nsys.exit(3)\n",
        "dict": "def get_config():\n    return {}\n",
        "other": "from configs.pretrain import get_config as make\n\n\ndef get_config():\n"
        "    c = make('cohort=folder,debug')\n    c.task = 'dance'\n    return c\n",
    }
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "settings.yaml").write_text("steps: 8\n")
    (folder / "RUN").mkdir()
    config = pretrain.get_config("cohort=folder").to_dict()
    workdir.write(folder / "RUN" / "config.json", config)


# Words -> what the sentence says.
MISTAKES = {
    "mistyped file": (["--config=configs/pretran.py"], ["is not there", "=configs/pretrain.py?"]),
    "no extension": (["--config=configs/pretrain"], ["is not there", "=configs/pretrain.py?"]),
    "no folder": (["--config=segment.py"], ["is not there", "=configs/segment.py?"]),
    "a name": (["--config=tables"], ["did you mean --config=configs/tables.py?"]),
    "a folder": (["--config=configs"], ["is a folder; expected one of configs/action.py, "]),
    "YAML": (["--config=settings.yaml"], ["is no Python file; expected one of"]),
    "no such file": (["--config=qqqqqqqq.py"], ["is not there", "configs/classify.py"]),
    "nothing": (["--config="], ["--config is missing"]),
    "no value": (["--config"], ["--config has no value"]),
    "no get_config": (["--config=none.py"], ["none.py has no get_config()"]),
    "shared part": (["--config=configs/common.py"], ["has no get_config()", "pretrain.py"]),
    "syntax error": (["--config=syntax.py"], ["SyntaxError: ", "(line 1)"]),
    "import error": (["--config=imports.py"], ["No module named 'nothing_of_that_name' (line 1)"]),
    "config that raises": (["--config=raises.py"], ["KeyError: 'a' (line 2)"]),
    "config that exits": (["--config=exits.py"], ["SystemExit: 3 (line 2)"]),
    "a dict": (["--config=dict.py"], ["makes a dict; expected"]),
    "another task": (
        ["--config=other.py", "--workdir=x"],
        ["config.task is 'dance'", "'pretrain'"],
    ),
    "argument": (["--config=configs/pretrain.py:cohrt=brats"], ["did you mean cohort=brats?"]),
    "bare argument": (["--config=configs/pretrain.py:debgu"], ["did you mean debug?"]),
    "value of a switch": (["--config=configs/pretrain.py:debug=1"], ["did you mean debug?"]),
    "no arguments taken": (["--config=raises.py:cohort=x"], ["TypeError: "]),
    "cohort": (["--config=configs/pretrain.py:cohort=hipocampus"], ["did you mean hippocampus?"]),
    "argument twice": (["--config=configs/segment.py:head=duc,head=unet"], ["head is given twice"]),
    "tables' config": (
        ["--config=configs/tables.py:debug", "--workdir=x"],
        ["--mode=tables alone"],
    ),
    "tables' mode": (
        ["--mode=tables", CONFIG, "--workdir=x"],
        ["configs/pretrain.py is for --mode=train or"],
    ),
    "knob": ([*HERE, "--config.optim.rat=1"], ["config.optim.rat is no", "config.optim.rate?"]),
    "as elsewhere": ([*HERE, "--config.optim.lr=1"], ["did you mean config.optim.rate?"]),
    "epochs": ([*HERE, "--config.epochs=1"], ["did you mean config.steps?"]),
    "without its group": ([*HERE, "--config.rate=1"], ["did you mean config.optim.rate?"]),
    "in another group": ([*HERE, "--config.data.clip=1"], ["did you mean config.optim.clip?"]),
    "a leaf mistyped": ([*HERE, "--config.warmpu=1"], ["did you mean config.optim.warmup?"]),
    "a group": ([*HERE, "--config.optim=1"], ["is a group of knobs", "config.optim.clip"]),
    "below a knob": ([*HERE, "--config.steps.x=1"], ["config.steps.x is no knob"]),
    "an element": ([*HERE, "--config.proxy.cube[0]=1"], ["did you mean config.proxy.cube?"]),
    "not alike any": ([*HERE, "--config.qqqq=1"], ["config.qqqq is no knob", "--help"]),
    "exponent": (
        [*HERE, "--config.steps=1e4"],
        ["is '1e4'; expected a whole", "--config.steps=10000?"],
    ),
    "fraction": ([*HERE, "--config.steps=2.5"], ["is '2.5'; expected a whole number"]),
    "words": ([*HERE, "--config.optim.rate=high"], ["is 'high'; expected a number"]),
    "comma": ([*HERE, "--config.optim.rate=0,1"], ["is '0,1'; expected a number"]),
    "no truth": ([*HERE, "--config.data.compress=maybe"], ["expected True or False"]),
    "one of three": ([*HERE, "--config.proxy.cube=6"], ["config.proxy.cube is (6,)", "three"]),
    "unquoted texts": ([*HERE, "--config.data.modalities=(a,b)"], ["expected a tuple"]),
    "unclosed": ([*HERE, "--config.proxy.cube=(6,6"], ["is '(6,6'; expected a tuple"]),
    "empty tuple": ([*HERE, "--config.proxy.cube="], ["is ''; expected a tuple"]),
    "knob, no value": ([*HERE, "--config.data.path"], ["config.data.path has no value"]),
    "knob twice": (
        [*HERE, "--config.steps=1", "--config.steps=2"],
        ["config.steps is given 2 times"],
    ),
    "flag": ([*HERE, "--wordkir=x"], ["--wordkir is no flag; did you mean --workdir?"]),
    "dash": ([*HERE, "--dry-run"], ["did you mean --dry_run?"]),
    "switch's value": ([*HERE, "--dry_run=maybe"], ["--dry_run is 'maybe'"]),
    "no switch": ([*HERE, "--noworkdir"], ["--noworkdir is no flag"]),
    "flag, no value": (
        [CONFIG, "--workdir"],
        ["--workdir has no value; expected --workdir=FOLDER"],
    ),
    "flag for a value": ([CONFIG, "--workdir", "--dry_run"], ["--workdir has no value"]),
    "empty": ([CONFIG, "--workdir="], ["--workdir is missing"]),
    "noconfig": (["--noconfig", "--workdir=x"], ["--noconfig is no flag"]),
    "a knob as flag": ([*HERE, "--steps=8"], ["--steps is no flag", "--config.steps=..."]),
    "mode": ([*HERE, "--mode=trian"], ["--mode=trian is no mode", "did you mean --mode=train?"]),
    "mode as a word": (["predict", "--workdir=x"], ["'predict'", "did you mean --mode=predict?"]),
    "file as a word": (["configs/pretrain.py"], ["did you mean --config=configs/pretrain.py?"]),
    "no dashes": ([CONFIG, "workdir=x"], ["did you mean --workdir=...?"]),
    "a long dash": ([CONFIG, "\u2014workdir=x"], ["did you mean --workdir=...?"]),
    "left over": ([*HERE, "extra"], ["unexpected argument 'extra'"]),
    "two dashes": ([*HERE, "--"], ["unexpected argument '--'"]),
    "not UTF-8": ([CONFIG, "--workdir=\udcff"], ["isn't UTF-8"]),
    "line break": ([*HERE, "a\nb"], [r"unexpected argument 'a\nb'"]),
    "line break in a name": (["--config=a\nb.py"], [r"--config=a\nb.py is not there"]),
    "config of a run": (["--mode=evaluate", *HERE], ["the run holds its own"]),
    "flag of another mode": ([*HERE, "--input=x"], ["--input is for --mode=predict, not train"]),
    "settled": (["--mode=evaluate", "--workdir=RUN", "--config.steps=8"], ["config.steps was"]),
    "knob of a run": (["--mode=evaluate", "--workdir=RUN", "--config.stesp=8"], ["config.steps?"]),
    "no run": (["--mode=predict", "--workdir=nothing"], ["is not a run"]),
    "nothing at all": ([], ["--config is missing"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    there = tmp_path_factory.mktemp("typed")
    files(there)
    (there / "configs").symlink_to(Path(pretrain.__file__).parent)
    return there


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_gets_one_sentence(folder, capsys, monkeypatch, what):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("rubik_jax.parallel.keep_compiled", lambda *_, **__: nullcontext())
    words, parts = MISTAKES[what]
    before = sorted(folder.iterdir())
    assert main(["main", *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("rubik_jax: ")
    assert all(part in said for part in parts), said
    assert not any(word in said for word in ("Traceback", "FLAGS", "_ErrorConfig", "absl"))
    assert sorted(folder.iterdir()) == before


def test_flags_come_in_any_order_and_in_the_forms_that_people_type():
    words = ["--config.steps", "8", "-workdir", "RUN", "--config.data.compress", "--dry_run"]
    words += ["--noconfig.data.resident", "--config.data.intensity.low", "-3.0", CONFIG]
    given = arguments.read(words)
    assert given.flags == {"workdir": "RUN", "dry_run": "true", "config": CONFIG[9:]}
    assert arguments.read(["--mode=train", "--mode=embed"]).flags == {"mode": "embed"}
    assert arguments.read(["--nodry_run"]).flags == {"dry_run": "false"}
    config = arguments.load(given.flags["config"], Path("configs"))
    arguments.override(config.lock(), given.knobs)
    assert (config.steps, config.optim.warmup) == (8, 2)  # which follows the steps
    assert (config.data.compress, config.data.resident) == (True, False)
    assert config.data.intensity.low == -3.0


@pytest.mark.parametrize(
    ("text", "like", "value"),
    [
        ("8", 4, 8),
        ("0x10", 4, 16),
        ("1e-3", 2.0, 1e-3),
        ("1", 2.0, 1.0),
        ("TRUE", False, True),
        ("no", True, False),
        ("1e4", "all", "1e4"),
        ("/data", None, "/data"),
        ("(6,6,6)", (1, 2, 3), (6, 6, 6)),
        ("[6, 6, 6]", (1, 2, 3), (6, 6, 6)),
        ("6", (1, 2), (6,)),
        ("((1,1,1),(2,2,2))", ((1, 1, 1),), ((1, 1, 1), (2, 2, 2))),
        ("**/*_t1.nii.gz", (), ("**/*_t1.nii.gz",)),
        ("'a b'", (), ("a b",)),
        ("()", (1,), ()),
    ],
)
def test_a_text_becomes_a_value_of_the_type_of_its_knob(text, like, value):
    found = arguments.parse("x", text, like)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("word", ["--help", "-h", "--helpfull", "-help"])
def test_help_tells_each_mode_the_knobs_and_the_statuses(capsys, word):
    assert main(["main", word]) == 0
    said, err = capsys.readouterr()
    assert not err
    parts = ["configs/", "docs/knobs.md", "130, 143, 138", "--output"]
    assert all(part in said for part in [*parts, *(f"--mode={mode}" for mode in arguments.MODES)])
    assert said.isascii()  # whatever the terminal
    assert max(map(len, said.splitlines())) <= 120


@pytest.mark.parametrize("mode", arguments.MODES)
def test_help_on_a_mode_is_that_modes_and_asks_for_nothing_else(capsys, mode):
    assert main(["main", f"--mode={mode}", "-h"]) == 0
    said = capsys.readouterr().out
    assert manual.USAGES[mode].about[0] in said
    assert sum(f"--mode={each}\n" in said for each in arguments.MODES) == 1


def test_help_on_a_config_lists_its_knobs_with_values_and_comments(capsys):
    assert main(["main", "--config=configs/segment.py:debug", "--config.steps=7", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    knobs = {line.partition("=")[0]: line for line in lines if line.startswith("--config.")}
    assert knobs["--config.optim.rate"].endswith("# the highest learning rate")
    assert knobs["--config.steps"].startswith("--config.steps=7 ")
    assert knobs["--config.model.encoder.convs"].endswith("where they cost most.")
    assert len(knobs) > 80
    assert main(["main", "--config=configs/nothing.py", "--help"]) == 2


def test_without_words_the_modes_are_listed(capsys):
    assert main(["main"]) == 2
    assert all(f"--mode={mode}" in capsys.readouterr().out for mode in arguments.MODES[:1])
    assert main(["main", "--version"]) == 0
    assert capsys.readouterr().out == f"rubik_jax {__version__}\n"
