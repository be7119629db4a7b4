"""The command: its flags and its config are parsed here, and handed to the mode asked for."""

import sys

from rubik_jax import interrupts

if __name__ == "__main__":  # ahead of the other imports, which take a second
    interrupts.install()

import importlib
import shlex
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from rubik_jax import (
    __version__,
    allocator,
    arguments,
    claims,
    failures,
    knobs,
    manual,
    parallel,
    workdir,
)
from rubik_jax.arguments import MODES
from rubik_jax.data.cases import short
from rubik_jax.errors import (
    DONE,
    FAILED,
    MISTAKE,
    ArgumentError,
    Interrupted,
    RunError,
    UserError,
)
from rubik_jax.modes.posing import TASKS
from rubik_jax.report.progress import print_anywhere, say

# Those that a config is given to; the others find it in the run.
EARLIER = ("train", "prepare", "tables")
TABLES = "tables"  # the task of a config that is a plan of runs, and the mode that takes it
COMPILED = ".compiled"  # beside the run's folder: the programs of all runs there
# What the later modes may change of a run's config: what is looked at, not what was trained.
SOURCE = (
    *("source", "name", "modalities", "missing", "masks", "labels", "count", "on_bad", "pad"),
)
LATER = (
    *workdir.INCIDENTAL,
    *(f"data.{name}" for name in SOURCE),
    *("inference.", "evaluate.", "regions.preset", "regions.define"),
)
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


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit status, other than 0 with one sentence on stderr."""
    command = None
    try:
        with interrupts.catch():
            interrupts.check()
            given = arguments.read(argv[1:])
            if given.help:
                say(_help(given))
                return DONE
            if not argv[1:]:
                say(manual.short())
            command = _parse(given)
            _require_devices()
            kept = command.folder.absolute().parent / COMPILED
            typed = shlex.join(["python", "-m", "rubik_jax.main", *argv[1:]])
            with _claimed(command), parallel.keep_compiled(kept, make=not command.dry_run):
                status = _run(command, typed)
            interrupts.check()  # none is lost that came after the last look
            return status
    except Interrupted as error:
        sentence, status = f"interrupted by {error}; the same command again goes on", error.status
    except Exception as error:
        known = _known(error, command)
        if known is None:
            raise
        sentence, status = str(known), MISTAKE if isinstance(known, UserError) else FAILED
    with suppress(BrokenPipeError):
        print(f"rubik_jax: {_one_line(sentence)}", file=sys.stderr)
    return status


def _claimed(command: Command) -> AbstractContextManager:
    """Holds the folder that the command writes into; a plan of runs claims each of them itself.

    Raises:
        UserError: another process writes into it, nobody can, or what lies there is another run.
    """
    folder, output = command.folder, command.output
    if output is not None and (output / workdir.CONFIG).exists():
        raise UserError(f"--output={output} is a run; expected a folder of its own")
    if command.dry_run or command.mode == "tables":
        return nullcontext()
    if command.mode in EARLIER:
        workdir.usable(folder)
    elif command.mode == "predict" or (output and not _within(output, folder)):
        folder = output
    return claims.hold(folder) if folder else nullcontext()


def _within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _one_line(sentence: str) -> str:
    """The sentence with line breaks and the like, which names may hold, written as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in sentence)


def _require_devices() -> None:
    try:
        parallel.require_devices()
    except ArgumentError as error:  # about a variable of the environment, not a knob
        raise UserError(str(error)) from error


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
            raise UserError(
                f"{lacking} is missing; expected --input=SCAN_OR_FOLDER and --output=FOLDER"
            )
        predict(folder, config, command.input, command.output)
    else:
        others = [name for name in command.changed if name not in workdir.INCIDENTAL]
        if others and command.output is None:
            raise UserError(
                f"config.{others[0]} differs from the run's; expected --output=FOLDER, "
                "for what is found in another way than the run's own"
            )
        if command.mode == "embed":
            from rubik_jax.modes.embedding import embed_cases

            embed_cases(folder, config, command.output, command.changed)
        else:
            from rubik_jax.modes.evaluating import evaluate

            evaluate(folder, config, command.output, command.changed)
    return DONE


def _parse(given: arguments.Given) -> Command:
    """Makes a command of what was typed; the later modes take the config that lies in the run."""
    mode, before = given.flags.get("mode", MODES[0]), None
    for flag, modes in ONLY.items():
        if flag in given.flags and mode not in modes:
            raise UserError(f"--{flag} is for --mode={' or '.join(modes)}, not {mode}")
    if mode in EARLIER:
        if not given.flags.get("config"):
            example = "tables" if mode == TABLES else "pretrain"
            raise UserError(f"--config is missing; expected e.g. --config=configs/{example}.py")
        config = arguments.load(given.flags["config"], _home())
        folder = _folder(given)
    else:
        if "config" in given.flags:
            raise UserError(f"--config is for --mode={' or '.join(EARLIER)}: the run holds its own")
        folder = _folder(given)
        before = _config_of(folder)
        config = before.copy_and_resolve_references()
    arguments.override(config.lock(), given.knobs)
    _check(config, mode)
    for each in (config,) if before is None else (config, before):
        each.update_from_flattened_dict(workdir.rooted(each.to_dict()))
    changed = () if before is None else _changed(before, config)
    paths = (Path(p).expanduser() if p else None for p in map(given.flags.get, ("input", "output")))
    dry_run = arguments.TRUTHS[given.flags.get("dry_run", "false").casefold()]
    return Command(mode, folder, config, changed, dry_run, *paths)


def _help(given: arguments.Given) -> str:
    """What is printed where help is requested: of all modes, of one, or of a config's knobs."""
    if given.help == "version":
        return f"rubik_jax {__version__}"
    mode, file = given.flags.get("mode", ""), given.flags.get("config")
    if not file:
        return manual.usage(mode if mode in MODES else "")
    config = arguments.load(file, _home())
    arguments.override(config.lock(), given.knobs)
    files = (*sorted(_home().glob("*.py")), Path(file.partition(":")[0]).expanduser())
    about = arguments.load_module(file.partition(":")[0], _home()).__doc__ or ""
    sources = [each.read_text("utf-8") for each in files]
    return manual.config(about, workdir.flat(config.to_dict()), sources)


def _home() -> Path:
    """The folder of the shipped configs."""
    return Path(importlib.import_module("configs").__file__).parent


def _folder(given: arguments.Given) -> Path:
    if not given.flags.get("workdir"):
        raise UserError("--workdir is missing; expected --workdir=FOLDER, the folder of the run")
    return Path(given.flags["workdir"]).expanduser()


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
    task, tasks = config.get("task"), (TABLES,) if mode == TABLES else TASKS
    if task not in tasks:
        if (task == TABLES) != (mode == TABLES) and task in (TABLES, *TASKS):
            fits = "--mode=tables alone" if task == TABLES else "--mode=train or prepare"
            raise UserError(f"configs/{task}.py is for {fits}; found --mode={mode}")
        raise UserError(f"config.task is {task!r}; for --mode={mode} expected one of {list(tasks)}")
    knobs.check(config.to_dict(), _shipped(task).to_dict(), task)


def _shipped(kind: str, arguments: str = "") -> ConfigDict:
    return importlib.import_module(f"configs.{kind}").get_config(arguments)


if __name__ == "__main__":
    allocator.keep_freed_memory()
    print_anywhere()
    interrupts.exit_with(main(sys.argv))
