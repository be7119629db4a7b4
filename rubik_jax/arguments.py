"""Reads the command line: its flags, the file of its config, and the values of its knobs.

Every mistake is a `UserError` whose sentence names what was typed and what was expected.
"""

import ast
import re
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from rubik_jax.errors import UserError
from rubik_jax.knobs import described
from rubik_jax.spelling import did_you_mean, meant
from rubik_jax.workdir import flat

MODES = ("train", "prepare", "tables", "evaluate", "predict", "embed")
FLAGS = {  # name -> what its value is; "" for one that is there or not
    "config": "FILE.py",
    "workdir": "FOLDER",
    "mode": "|".join(MODES),
    "input": "SCAN_OR_FOLDER",
    "output": "FOLDER",
    "dry_run": "",
}
HELP = ("help", "h", "helpfull", "helpshort", "?", "version")
KNOB = "config."
TRUTHS = {
    **dict.fromkeys(("true", "t", "1", "yes"), True),
    **dict.fromkeys(("false", "f", "0", "no"), False),
}
# What neighbours in the field call it, where the spelling alone wouldn't tell.
ALIASES = {
    "lr": "optim.rate",
    "learning_rate": "optim.rate",
    "wd": "optim.weight_decay",
    "epochs": "steps",
    "max_steps": "steps",
    "iterations": "steps",
    "bs": "batch_size",
    "num_workers": "data.workers",
    "data_dir": "data.path",
    "pretrained": "init_from",
    "patch_size": "window",
    "roi_size": "window",
    "fold": "data.split.fold",
}


class Given(NamedTuple):
    """What was typed.

    Attributes:
        flags: name -> value, of `FLAGS`; a value of "" flags is "true" or "false".
        knobs: dotted name without "config." -> text, None for one without a value.
        help: which of `HELP` is requested; "" for none.
    """

    flags: dict[str, str]
    knobs: dict[str, str | None]
    help: str


def read(words: Sequence[str]) -> Given:
    """Reads the words behind the command's name.

    Values stand behind "=" or in the next word; one dash counts as two; the order is free. Of a
    flag that is given twice, as by a script and its caller, the last counts.

    Raises:
        UserError: a flag there isn't or without a value, a knob that is given twice, or a word
            too many.
    """
    given = Given({}, {}, next((w.lstrip("-") for w in words if _asks_for_help(w)), ""))
    words = [_readable(word) for word in words if not _asks_for_help(word)]
    while words:
        word = words.pop(0)
        name, has_value, value = word.lstrip("-").partition("=")
        if not word.startswith("-") or not _known(name):
            raise UserError(_unexpected(word, name))
        if not has_value:
            name, value = _following(name, words)
        is_knob = name.startswith(KNOB)
        into, key = (given.knobs, name[len(KNOB) :]) if is_knob else (given.flags, name)
        if is_knob and key in into:
            times = 2 + sum(w.lstrip("-").partition("=")[0] == name for w in words)
            raise UserError(f"--{name} is given {times} times; expected once")
        into[key] = value
    if not given.help:
        _check_flags(given.flags)
    return given


def load(text: str, home: Path) -> ConfigDict:
    """The config of a file and its arguments, e.g. "configs/pretrain.py:cohort=brats,debug".

    Args:
        text: the file, and behind a colon the arguments.
        home: the folder of the configs that are named where the file isn't one.

    Raises:
        UserError: the file isn't there, isn't Python, or doesn't make a config of the arguments.
    """
    name, has_arguments, arguments = text.partition(":")
    module = load_module(name, home)
    make = getattr(module, "get_config", None)
    if not callable(make):
        raise UserError(
            f"--config={name} has no get_config(); expected {_choice(_shipped(home))}, "
            "or a file with such a function"
        )
    try:
        config = make(*[arguments] if has_arguments else [])
    except UserError:
        raise
    except ValueError as error:  # as `configs.common` says what it can't use
        raise UserError(f"--config={text}: {_line(error)}") from error
    except (Exception, SystemExit) as error:  # it's the user's code
        raise UserError(f"--config={text} can't be used: {_where(error, name)}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"--config={name} makes a {type(config).__name__}; expected get_config() to return a "
            "ConfigDict"
        )
    return config


def load_module(name: str, home: Path) -> ModuleType:
    """The module of a config's file; UserError where there is none."""
    path = Path(name).expanduser()
    if path.suffix != ".py" or not path.is_file():
        raise UserError(f"--config={name} {_missing(path, home)}")
    spec = util.spec_from_file_location(f"config_{path.stem}", path)
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as classes that are defined in it need
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UserError(f"--config={name} can't be used: {_where(error, name)}") from error
    return module


def override(config: ConfigDict, knobs: Mapping[str, str | None]) -> None:
    """Sets the knobs of a config to what was typed.

    Raises:
        UserError: a knob that the config doesn't have, or a value of another type.
    """
    known = flat(config.to_dict())
    for name in knobs:
        if name not in known:
            raise UserError(_no_knob(name, known))
    for name, text in knobs.items():
        *rooms, leaf = name.split(".")
        room = config
        for each in rooms:
            room = room[each]
        room[leaf] = parse(name, text, known[name])


def parse(name: str, text: str | None, like: Any) -> Any:
    """The value that a text stands for.

    Args:
        name: the knob's, dotted.
        text: as typed.
        like: a value of the type that is expected; None stands for a text.

    Raises:
        UserError: it's of another type.
    """
    kind = str if like is None else type(like)
    if text is None and kind is not bool:
        raise UserError(f"--config.{name} has no value; expected --config.{name}=VALUE")
    try:
        return True if text is None else _PARSERS.get(kind, ast.literal_eval)(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, KeyError):
        whole = _whole(text) if kind is int else None
        hint = "" if whole is None else f"; did you mean --config.{name}={whole}?"
        raise UserError(
            f"config.{name} is {text!r}; expected {described(like)}{hint}", knob=name
        ) from None


def _tuple(text: str) -> tuple:
    """A tuple as Python writes it, a single value, or a single text that needs no quotes."""
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        if text.strip()[:1] in ("(", "[", "{", "'", '"', "") or "," in text or " " in text:
            raise
        value = text
    if isinstance(value, dict | set):
        raise ValueError
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _integer(text: str) -> int:
    return int(text, 0) if text.strip()[:2].lower() in ("0x", "0o") else int(text)


_PARSERS = {
    str: str,
    bool: lambda text: TRUTHS[text.strip().casefold()],
    int: _integer,
    float: float,
    tuple: _tuple,
}


def _whole(text: str) -> int | None:
    """The whole number that a text such as 1e4 or 8.0 comes to."""
    try:
        value = float(text)
        return int(value) if value == int(value) else None
    except (ValueError, OverflowError):
        return None


def _asks_for_help(word: str) -> bool:
    return word.startswith("-") and word.lstrip("-") in HELP


def _readable(word: str) -> str:
    try:
        word.encode()
    except UnicodeEncodeError:
        shown = word.encode(errors="surrogateescape")
        raise UserError(f"the argument {shown!r} isn't UTF-8; expected text that is") from None
    return word


def _known(name: str) -> bool:
    return name in FLAGS or name.startswith((KNOB, f"no{KNOB}")) or _switch(name) is not None


def _switch(name: str) -> tuple[str, str] | None:
    """The flag, and its value, that a switch stands for: dry_run or nodry_run."""
    for prefix, value in (("", "true"), ("no", "false")):
        bare = name.removeprefix(prefix)
        if name.startswith(prefix) and FLAGS.get(bare) == "":
            return bare, value
    return None


def _following(name: str, words: list[str]) -> tuple[str, str | None]:
    """The name and value of a flag without "=": a switch, or one whose value is the next word."""
    if found := _switch(name):
        return found
    if name.startswith("no"):  # of a knob
        return name.removeprefix("no"), "False"
    if words and not re.match(r"-(?![\d.])", words[0]):
        return name, words.pop(0)
    if name.startswith(KNOB):
        return name, None
    raise UserError(f"--{name} has no value; expected --{name}={FLAGS[name]}")


def _check_flags(flags: Mapping[str, str]) -> None:
    mode = flags.get("mode", MODES[0])
    if mode not in MODES:
        near = did_you_mean(mode, MODES, "--mode={}")
        raise UserError(f"--mode={mode} is no mode; expected one of {', '.join(MODES)}{near}")
    if flags.get("dry_run", "true").casefold() not in TRUTHS:
        raise UserError(f"--dry_run is {flags['dry_run']!r}; expected true or false")


def _unexpected(word: str, name: str) -> str:
    """A sentence on a word that is no flag."""
    if not name:
        return f"unexpected argument {word!r}; expected --name=value"
    bare = name.lstrip("-\u2010\u2011\u2012\u2013\u2014\u2212")
    expected = "expected --name=value; --help lists the flags"
    if bare in FLAGS or bare.startswith(KNOB):  # without its dashes, or behind others
        return f"unexpected argument {word!r}; did you mean --{bare}=...?"
    if not word.startswith("-"):
        near = f"; did you mean --mode={word}?" if word in MODES else ""
        near = near or (f"; did you mean --config={word}?" if ".py" in word else "")
        return f"unexpected argument {word!r}; {expected}{near}"
    if near := meant(bare, (*FLAGS, "help", "version")):
        return f"--{name} is no flag; did you mean --{near}?"
    return (
        f"--{name} is no flag; expected one of {', '.join(f'--{flag}' for flag in FLAGS)}, or "
        f"--{KNOB}{name}=... where it's a knob of the config"
    )


def _no_knob(name: str, known: Iterable[str]) -> str:
    """A sentence on a knob that there isn't, with the one that was most likely meant."""
    known = list(known)
    below = [each for each in known if each.startswith(f"{name}.")]
    if below:
        named = ", ".join(f"config.{each}" for each in below[:3])
        return f"config.{name} is a group of knobs; expected one of them, such as {named}"
    leaf = name.rpartition(".")[2]
    ends = [each for each in known if each.rpartition(".")[2] == leaf]
    near = [each for each in known if leaf in ALIASES and f".{each}".endswith(f".{ALIASES[leaf]}")]
    near += sorted(ends, key=lambda each: (each.count("."), each))
    leaves = {each.rpartition(".")[2]: each for each in reversed(known)}
    near += [each for each in (meant(name, known), leaves.get(meant(leaf, leaves))) if each]
    hint = f"; did you mean config.{near[0]}?" if near else "; --help with --config lists them"
    return f"config.{name} is no knob of this config{hint}"


def _shipped(home: Path) -> dict[str, Path]:
    """The configs that can be run, by their names, each as it is typed."""
    near = Path(home.name)
    folder = near if near.exists() and near.samefile(home) else home
    files = sorted(file for file in home.glob("*.py") if _makes_config(file))
    return {file.stem: folder / file.name for file in files}


def _makes_config(file: Path) -> bool:
    return "\ndef get_config(" in file.read_text("utf-8")


def _choice(known: Mapping[str, Path]) -> str:
    return f"one of {', '.join(map(str, known.values()))}" if known else "a .py file"


def _missing(path: Path, home: Path) -> str:
    """What is wrong with the file of a config, which there are, and which was meant."""
    problem = "is no Python file" if path.is_file() else "is not there"
    problem = "is a folder" if path.is_dir() else problem
    known = _shipped(home)
    near = known.get(meant(path.stem, known))
    hint = f"; did you mean --config={near}?" if near else ""
    return f"{problem}; expected {_choice(known)}{hint}"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _where(error: BaseException, name: str) -> str:
    """What an error in a config says, and in which of its lines."""
    file = Path(name).expanduser().resolve()
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve() == file
    ]
    if isinstance(error, SyntaxError) and Path(error.filename or "").resolve() == file:
        lines = [error.lineno]
    said = error.msg if isinstance(error, SyntaxError) else _line(error)
    kind = type(error).__name__
    said = kind if said == kind else f"{kind}: {said}"
    return f"{said} (line {lines[-1]})" if lines else said
