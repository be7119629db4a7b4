"""The command: its flags and its config are parsed here, and handed to the mode asked for."""

import importlib
import re
import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

from rubik_jax import allocator, failures, knobs, parallel, workdir
from rubik_jax.data.cases import short
from rubik_jax.errors import DONE, FAILED, MISTAKE, Interrupted, RunError, UserError
from rubik_jax.modes.posing import TASKS
from rubik_jax.report.progress import print_anywhere

MODES = ("train", "prepare", "tables", "evaluate", "predict", "embed")
# Those that a config is given to; the others find it in the run.
EARLIER = ("train", "prepare", "tables")
TABLES = "tables"  # the task of a config that is a plan of runs, and the mode that takes it
COMPILED = ".compiled"  # beside the run's folder: the programs of all runs there
# What the later modes may change of a run's config: what is looked at, not what was trained.
SOURCE = (
    *("source", "path", "name", "modalities", "missing", "masks", "labels", "count"),
    *("on_bad", "pad", "store", "workers"),
)
LATER = (*(f"data.{name}" for name in SOURCE), "inference.", "evaluate.")
ONLY = {"dry_run": EARLIER, "input": ("predict",), "output": ("predict", "evaluate", "embed")}


class Command(NamedTuple):
    """The command line, read.

    Attributes:
        mode: one of `MODES`.
        folder: the run's.
        config: the run's, with what the command line overrides.
        changed: the knobs in which the config differs from that of a run which lies there.
        dry_run: whether to stop short of the work.
        input: what is predicted.
        output: where predictions, evaluations or features go.
    """

    mode: str
    folder: Path
    config: ConfigDict
    changed: tuple[str, ...]
    dry_run: bool
    input: Path | None
    output: Path | None


def main(arguments: list[str]) -> int:
    """Runs the command line; returns the exit status, other than 0 with one sentence on stderr."""
    command = None
    try:
        command = _parse(arguments)
        if command.mode != "prepare":
            parallel.require_devices()
        kept = command.folder.absolute().parent / COMPILED
        with parallel.keep_compiled(kept, make=not command.dry_run):
            return _run(command, shlex.join(["python", "-m", "rubik_jax.main", *arguments[1:]]))
    except Interrupted as error:
        sentence, status = f"interrupted by {error}; the same command again goes on", error.status
    except Exception as error:
        known = _known(error, command)
        if known is None:
            raise
        sentence, status = str(known), MISTAKE if isinstance(known, UserError) else FAILED
    with suppress(BrokenPipeError):
        print(f"rubik_jax: {sentence}", file=sys.stderr)
    return status


def _known(error: Exception, command: Command | None) -> UserError | RunError | None:
    """The error that is shown as a sentence, None where a traceback is due."""
    if isinstance(error, UserError | RunError):
        return error
    folder, config = (command.folder, command.config.to_dict()) if command else (None, None)
    return failures.known(error, folder, config)


def _run(command: Command, said: str) -> int:
    """Does what is asked for; returns the exit status."""
    # A mode is imported when it's asked for: what they bring along takes more than a second.
    folder, config = command.folder, command.config
    if command.mode == "train":
        from rubik_jax.modes.training import train

        train(folder, config, said, dry_run=command.dry_run)
    elif command.mode == "prepare":
        from rubik_jax.modes.preparing import prepare

        prepare(folder, config, said, dry_run=command.dry_run)
    elif command.mode == "tables":
        from rubik_jax.modes.tabulating import tabulate

        return min(1, tabulate(folder, config, said, _shipped, dry_run=command.dry_run))
    elif command.mode == "predict":
        from rubik_jax.modes.predicting import predict

        if command.input is None or command.output is None:
            lacking = "--input" if command.input is None else "--output"
            raise UserError(f"{lacking} is missing; expected a file or folder to predict, and one")
        predict(folder, config, command.input, command.output)
    else:
        if command.changed and command.output is None:
            raise UserError(
                f"config.{command.changed[0]} differs from the run's; expected --output=FOLDER, "
                "for what is found in another way than the run's own"
            )
        if command.mode == "embed":
            from rubik_jax.modes.embedding import embed_cases

            embed_cases(folder, config, command.output, command.changed)
        else:
            from rubik_jax.modes.evaluating import evaluate

            evaluate(folder, config, command.output)
    return DONE


def _parse(arguments: list[str]) -> Command:
    """Reads the command line; the later modes take the config that lies in the run."""
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "the run's folder", flag_values=values)
    flags.DEFINE_enum("mode", "train", MODES, "what to do", flag_values=values)
    flags.DEFINE_string("input", None, "predict: a scan, or a folder of them", flag_values=values)
    flags.DEFINE_string("output", None, "the later modes: a folder", flag_values=values)
    flags.DEFINE_bool(
        "dry_run", False, "train, prepare, tables: estimates alone", flag_values=values
    )
    before = None
    # The mode decides where the config comes from, so it is read ahead of the config's flags.
    _read(values, [a for a in arguments if not a.lstrip("-").startswith("config")])
    if values.mode not in EARLIER:
        if any(a.lstrip("-").partition("=")[0] == "config" for a in arguments[1:]):
            raise UserError(f"--config is for --mode={' or '.join(EARLIER)}: the run holds its own")
        before = _config_of(_folder(values))
    values.unparse_flags()
    if before is None:
        config_flags.DEFINE_config_file(
            "config", None, "the experiment", flag_values=values, sys_argv=arguments
        )
    else:
        config_flags.DEFINE_config_dict(
            "config",
            before.copy_and_resolve_references(),
            flag_values=values,
            sys_argv=arguments,
        )
    _refuse_twice(arguments)
    rest = _read(values, arguments)
    if rest:
        raise UserError(f"unexpected argument {rest[0]!r}; expected --name=value")
    for flag, modes in ONLY.items():
        if values[flag].present and values.mode not in modes:
            raise UserError(f"--{flag} is for --mode={' or '.join(modes)}, not {values.mode}")
    folder = _folder(values)
    if values.config is None:
        raise UserError("--config is missing; expected e.g. --config=configs/pretrain.py")
    config = values.config
    _check(config, values.mode)
    changed = () if before is None else _changed(before, config)
    paths = (Path(p).expanduser() if p else None for p in (values.input, values.output))
    return Command(values.mode, folder, config, changed, values.dry_run, *paths)


def _read(values: flags.FlagValues, arguments: list[str]) -> list[str]:
    """Parses the arguments; returns those that are no flags."""
    try:
        return values(arguments)[1:]
    except (KeyError, AttributeError) as error:  # by ml_collections, of a knob there isn't
        part = re.search(r"\w+", str(error.args[0])).group()
        named = [a.partition("=")[0].lstrip("-") for a in arguments if "." in a.partition("=")[0]]
        knob = next((name for name in named if part in name.split(".")), part)
        raise UserError(f"{knob} is no knob; expected one that the config has") from error
    except Exception as error:  # a config is the user's code: whatever it raises is a mistake
        # ml_collections puts the traceback of a config's error into the message; its end counts.
        said = str(error).strip()
        said = said.splitlines()[-1] if "Traceback" in said else " ".join(said.split())
        raise UserError(said.removeprefix("ValueError: ") or type(error).__name__) from error


def _refuse_twice(arguments: list[str]) -> None:
    """An override that is given twice: ml_collections puts tuples one after the other."""
    names = [argument.partition("=")[0].lstrip("-") for argument in arguments]
    twice = [name for name in names if name.startswith("config.") and names.count(name) > 1]
    if twice:
        raise UserError(f"--{twice[0]} is given {names.count(twice[0])} times; expected once")


def _folder(values: flags.FlagValues) -> Path:
    if not values.workdir:
        raise UserError("--workdir is missing; expected the folder of the run")
    return Path(values.workdir).expanduser()


def _config_of(folder: Path) -> ConfigDict:
    """The config that lies in a run, its knobs of the kinds of the shipped one."""
    saved = workdir.settled(folder)
    if saved.get("task") not in TASKS:
        if saved.get("task") == TABLES:
            raise UserError(f"{folder} is a plan of runs; expected one of the runs below it")
        raise UserError(f"{folder / workdir.CONFIG} has no task; expected one of {list(TASKS)}")
    config = _shipped(saved["task"])
    given, known = workdir.flat(saved), workdir.flat(config.to_dict())
    differing = sorted(given.keys() ^ known.keys())
    if differing:
        raise UserError(
            f"{folder / workdir.CONFIG} is of another version of rubik_jax: it "
            f"{'has' if differing[0] in given else 'lacks'} {differing[0]}; expected the knobs of "
            f"configs/{saved['task']}.py"
        )
    with config.ignore_type():
        config.update_from_flattened_dict({k: _tuples(v) for k, v in given.items()})
    return config


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _changed(before: ConfigDict, config: ConfigDict) -> tuple[str, ...]:
    """The knobs that the command line overrides; UserError where that makes no sense."""
    then, now = workdir.flat(before.to_dict()), workdir.flat(config.to_dict())
    changed = tuple(name for name in now if now[name] != then[name])
    for name in changed:
        if not name.startswith(LATER):
            raise UserError(
                f"config.{name} was settled when the run was trained; expected overrides of "
                f"{', '.join(f'config.{part}' for part in LATER)} alone"
            )
    _refuse_reordered(before.data.modalities, config.data.modalities)
    return changed


def _refuse_reordered(then: tuple[str, ...], now: tuple[str, ...]) -> None:
    """The same modalities in an order that the network's channels don't have."""
    trained, given = ([word.casefold() for word in short(globs)] for globs in (then, now))
    if trained != given and sorted(trained) == sorted(given):
        raise UserError(
            f"config.data.modalities is {now}, which puts those of the run in another order; "
            f"expected {', '.join(short(then))}"
        )


def _check(config: ConfigDict, mode: str) -> None:
    """Holds a config against the shipped one of its task, which names every knob there is."""
    if not isinstance(config, ConfigDict):
        raise UserError(f"the config is a {type(config).__name__}; expected a ConfigDict")
    task, tasks = config.get("task"), (TABLES,) if mode == TABLES else TASKS
    if task not in tasks:
        raise UserError(f"config.task is {task!r}; for --mode={mode} expected one of {list(tasks)}")
    knobs.check(config.to_dict(), _shipped(task).to_dict(), task)


def _shipped(kind: str, arguments: str = "") -> ConfigDict:
    return importlib.import_module(f"configs.{kind}").get_config(arguments)


def _interrupt(number: int, *_: object) -> None:
    raise Interrupted(number)


if __name__ == "__main__":
    # As a scheduler ends a job: nothing is left half-done.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _interrupt)
    allocator.keep_freed_memory()
    print_anywhere()
    sys.exit(main(sys.argv))
