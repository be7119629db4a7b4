"""A run's directory beside its checkpoints: the resolved config, the split, the results."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from rubik_jax import failures
from rubik_jax.claims import CLAIMS
from rubik_jax.data.writing import whole
from rubik_jax.errors import UserError

CONFIG, SPLIT, RESULTS = "config.json", "split.json", "results.json"
SKIPPED, DATA_REPORT = "skipped.csv", "data_report.html"
_EARLIER = (SKIPPED, DATA_REPORT, CLAIMS)  # what may lie there before the run begins

# What says where the data lie and how they are worked off. It changes nothing of a run: whether
# the cases are the same is decided by what their files hold.
INCIDENTAL = (
    *("data.path", "data.store", "data.compress", "data.workers"),
    "inference.batch_size",  # how many windows at a time
)
# Knobs that name a file or folder as seen from where the command is given.
PATHS = ("data.path", "data.store", "data.split.run", "data.split.file", "init_from")


def check(workdir: Path, config: dict[str, Any]) -> None:
    """Refuses a directory that another run lives in, or that can't be one; see also `usable`.

    Raises:
        UserError: its config differs (the sentence names the knobs), it's a file, or it holds
            checkpoints without a config.
    """
    usable(workdir)
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
    others = differing(workdir, then, now)
    if others:
        knob = others[0]
        rest = len(others) - 1
        more = f" (and {rest} more knob{'s' * (rest > 1)})" if rest else ""
        raise UserError(
            f"--workdir={workdir} holds a run with config.{knob}={then.get(knob)}, not "
            f"{now.get(knob)}{more}; expected the same config, or another folder"
        )


def differing(workdir: Path, then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The knobs in which two flat configs mean another run.

    Those that lie deepest come last: what follows another knob, as optim.warmup does steps, isn't
    to blame.

    Args:
        workdir: where the run lies.
        then: the knobs that it was begun with.
        now: those that are given.
    """
    names = (
        name
        for name in then.keys() | now.keys()
        if then.get(name) != now.get(name)
        and not _ends(name, INCIDENTAL)
        and not (_ends(name, PATHS) and _same_place(workdir, then.get(name), now.get(name)))
    )
    return sorted(names, key=lambda name: (name.count("."), name))


def rooted(config: dict[str, Any]) -> dict[str, str]:
    """The knobs of `PATHS` that are set, by their dotted names, as absolute paths.

    A run is gone on with, evaluated and started from in other working directories than its own.
    """
    return {
        name: str(Path(value).expanduser().absolute())
        for name, value in flat(config).items()
        if _ends(name, PATHS) and value
    }


def usable(workdir: Path) -> None:
    """Raises UserError for a path that no run can have: a file, or where nothing can be written."""
    if workdir.is_symlink() and not workdir.exists():
        raise UserError(f"--workdir={workdir} is a link to nothing; expected a folder")
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"--workdir={workdir} is a file; expected a folder")
    nearest = next(p for p in (workdir, *workdir.absolute().parents) if p.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"--workdir={workdir} can't be written; expected a folder that can")


def settled(workdir: Path) -> dict[str, Any]:
    """The knobs of the run that lives there; one that is newer than it has the value it ran with.

    Raises:
        UserError: there is none.
    """
    config = read(workdir / CONFIG)
    if encoder := config.get("model", {}).get("encoder"):
        encoder.setdefault("remat", "none")
    for run in (config, config.get("pretrain", {})):
        if "heads" in run.get("model", {}):
            run["model"].setdefault("pooling", "none")
    if data := config.get("data"):
        data.setdefault("geometry", "affine")
    for run in (config, config.get("segment", {})):  # of a run, or of a plan of runs
        if "regions" in run.get("evaluate", {}):
            run["regions"] = _regions(run["evaluate"].pop("regions"), run["data"]["source"])
    return config


def _regions(name: str, source: str) -> dict[str, Any]:
    """The knobs of regions for the name that runs had in their place.

    Those of BraTS were one set for all numberings, which counted both 3 and 4 as enhancing. Where
    files are named as the challenge's, the edition is told by them now; elsewhere they stay.
    """
    settled = {"preset": "none", "define": [], "train": False, "order": []}
    if name == "brats" and source == "brats":
        settled["preset"] = "brats"
    elif name == "brats":
        settled["define"] = [["whole", [1, 2, 3, 4]], ["core", [1, 3, 4]], ["enhancing", [3, 4]]]
    return settled


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


def _ends(name: str, knobs: tuple[str, ...]) -> bool:
    """Whether it is one of those, of a run or of a kind of run in a plan."""
    return f".{name}".endswith(tuple(f".{knob}" for knob in knobs))


def _same_place(workdir: Path, then: str | None, now: str | None) -> bool:
    """Whether both are one place, or one that was moved together with the run."""
    if not (then and now):
        return False
    old, new = (Path(path).expanduser().resolve() for path in (then, now))
    if old == new:
        return True
    above = zip((old, *old.parents), (new, *new.parents), strict=False)
    there = next((after for before, after in above if before.name != after.name), None)
    return there in workdir.resolve().parents and not old.exists()
