"""A run's directory beside its checkpoints: the resolved config, the split, the results."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from rubik_jax import failures
from rubik_jax.data.writing import whole
from rubik_jax.errors import UserError

CONFIG, SPLIT, RESULTS = "config.json", "split.json", "results.json"
SKIPPED, DATA_REPORT = "skipped.csv", "data_report.html"
_EARLIER = (SKIPPED, DATA_REPORT)  # what may lie there before the run begins


def check(workdir: Path, config: dict[str, Any]) -> None:
    """Refuses a directory that another run lives in, or that can't be one.

    Raises:
        UserError: its config differs (the sentence names the knobs), it's a file, or it holds
            checkpoints without a config.
    """
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"--workdir={workdir} is a file; expected a folder")
    nearest = next(p for p in (workdir, *workdir.absolute().parents) if p.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"--workdir={workdir} can't be written; expected a folder that can")
    if not (workdir / CONFIG).exists():
        there = workdir.iterdir() if workdir.exists() else ()
        if any(path.suffix != ".tmp" and path.name not in _EARLIER for path in there):
            raise UserError(
                f"--workdir={workdir} has files but no {CONFIG}; expected a run or an empty folder"
            )
        return
    if not begun(workdir):
        return
    then, now = flat(settled(workdir)), flat(config)
    differing = sorted(k for k in then.keys() | now.keys() if then.get(k) != now.get(k))
    if differing:
        knob = differing[0]
        more = f" (and {len(differing) - 1} more knobs)" if len(differing) > 1 else ""
        raise UserError(
            f"--workdir={workdir} holds a run with config.{knob}={then.get(knob)}, not "
            f"{now.get(knob)}{more}; expected the same config, or another folder"
        )


def settled(workdir: Path) -> dict[str, Any]:
    """The knobs of the run that lives there; one that is newer than it has the value it ran with.

    Raises:
        UserError: there is none.
    """
    config = read(workdir / CONFIG)
    if encoder := config.get("model", {}).get("encoder"):
        encoder.setdefault("remat", "none")
    return config


def begun(workdir: Path) -> bool:
    """Whether the run has a checkpoint; until then another config may take its place."""
    return any(path.name.isdigit() for path in (workdir / "checkpoints").glob("*"))


def finished(workdir: Path) -> bool:
    """Whether the run has taken its last step and its results were reported."""
    return (workdir / RESULTS).exists() and bool(read(workdir / RESULTS).get("finished"))


def begin(workdir: Path, config: dict[str, Any], split: dict[str, Any]) -> None:
    """Writes down what a run is made of, or finds it as it was.

    Raises:
        UserError: the run has begun with another split, or the folder can't be written.
    """
    split = json.loads(json.dumps(split))
    if begun(workdir):
        if read(workdir / SPLIT) != split:
            raise UserError(
                f"{workdir / SPLIT} no longer fits the cohort: cases were added or removed since "
                "the run began; expected the same cases, or another --workdir"
            )
    else:  # whatever lies there is of a run that another takes the place of
        for left in ("best", "tensorboard"):
            shutil.rmtree(workdir / left, ignore_errors=True)
        (workdir / "metrics.jsonl").unlink(missing_ok=True)
    write(workdir / CONFIG, config)
    write(workdir / SPLIT, split)


def write(path: Path, content: dict[str, Any]) -> None:
    """Writes JSON whole or not at all, whoever else writes it at the same time.

    Raises:
        UserError: the folder can't be written.
        RunError: its disk is full or fails.
    """
    text = json.dumps(content, indent=2) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise failures.of_file(error, path, needed=len(text)) or UserError(
            f"{path} can't be written: {error.strerror}"
        ) from error


def read(path: Path) -> dict[str, Any]:
    """Reads JSON.

    Raises:
        UserError: it isn't there, or isn't JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.parent} is not a run: it has no {path.name}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not JSON: {error}") from None


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested knobs by their dotted names."""
    found = {}
    for name, value in tree.items():
        found |= (
            flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        )
    return found
