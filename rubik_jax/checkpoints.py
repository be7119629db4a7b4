"""Orbax checkpoints of a run, each self-describing: the latest to go on from, the best to use."""

import json
import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree

from rubik_jax import failures
from rubik_jax.data.writing import whole
from rubik_jax.errors import RunError, UserError

FOLDERS = {"latest": "checkpoints", "best": "best"}
_BESIDE = 2**18  # bytes of the files beside the arrays
_UNFINISHED = ".orbax-checkpoint-tmp"  # how the name ends that Orbax writes under


class Checkpoints:
    """Writes and reads the checkpoints of a run directory.

    Latest and best lie apart, `checkpoints/<step>/` and `best/<step>/`, since a manager that
    keeps the best alone would delete the newest whenever it scores worst. Writing goes on in the
    background; a process killed meanwhile leaves the one before whole, and so does a full disk,
    of which the next call says so that waits for what was begun.
    """

    def __init__(self, workdir: Path):
        self._sizes = dict.fromkeys(FOLDERS, 0)  # bytes of what was begun last
        self._echoes = _Echoes()
        self._managers = {
            kind: ocp.CheckpointManager(
                (Path(workdir) / folder).absolute(),
                item_names=("state", "description"),
                options=ocp.CheckpointManagerOptions(
                    max_to_keep=1, cleanup_tmp_directories=True, enable_async_checkpointing=True
                ),
            )
            for kind, folder in FOLDERS.items()
        }

    def step(self, kind: str) -> int | None:
        """The step of the latest or best checkpoint, None where there is none."""
        return self._managers[kind].latest_step()

    def save(self, kind: str, step: int, state: PyTree, description: dict[str, Any]) -> None:
        """Begins to write a checkpoint; `state` must be on the host, for it's written later.

        Raises:
            RunError: there is no space for it, or there was none for the one before.
        """
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(state), description=ocp.args.JsonSave(description)
        )
        manager = self._managers[kind]
        with self._writing(kind):
            manager.wait_until_finished()
            self.require_space(kind, state)
            self._sizes[kind] = size(state)
            if kind == "best" and step in manager.all_steps():  # of before a resume, scored anew
                manager.delete(step)
            if not manager.save(step, args=arguments, force=True):
                raise RuntimeError(f"the {kind} checkpoint of step {step} was not written")

    def require_space(self, kind: str, state: PyTree) -> None:
        """Raises RunError where the disk has no space for a checkpoint of the state."""
        folder = Path(self._managers[kind].directory)
        begun = sum(self._sizes.values())
        if shutil.disk_usage(folder).free < begun + size(state):
            self.wait()  # what was begun is on the disk then, and isn't counted twice
            if shutil.disk_usage(folder).free < size(state):
                raise failures.no_space(folder, size(state))

    def describe_anew(self, kind: str, description: dict[str, Any]) -> None:
        """Changes what the latest or best checkpoint says of itself; its arrays stay."""
        manager = self._managers[kind]
        manager.wait_until_finished()
        file = _description(Path(manager.directory) / str(manager.latest_step()))
        with whole(file) as stream:
            stream.write(json.dumps(description).encode())

    def restore(self, kind: str, like: PyTree) -> PyTree:
        """Reads a checkpoint into the structure, shapes and dtypes of `like`, as NumPy arrays.

        Raises:
            UserError: it can't be read whole.
        """
        abstract = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
        manager = self._managers[kind]
        arguments = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        step = manager.latest_step()
        with _whole(Path(manager.directory) / str(step)):
            return manager.restore(step, args=arguments)["state"]

    def description(self, kind: str) -> dict[str, Any] | None:
        """What the latest or best checkpoint says of itself; None where there is none."""
        manager = self._managers[kind]
        step = manager.latest_step()
        return None if step is None else describe(Path(manager.directory) / str(step))

    def wait(self) -> None:
        """Returns when all that was begun is on disk.

        Raises:
            RunError: the disk is full or fails; the checkpoint before is still there.
        """
        failed = []
        for kind, manager in self._managers.items():
            try:
                with self._writing(kind):
                    manager.wait_until_finished()
                self._sizes[kind] = 0
            except RunError as error:
                failed.append(error)
        if failed:
            raise failed[0]

    def close(self) -> None:
        """Waits, then lets go; raises as `wait`."""
        try:
            self.wait()
        finally:
            for manager in self._managers.values():
                manager.close()
        self._echoes.stop()  # after an error they may come until the process ends

    @contextmanager
    def _writing(self, kind: str) -> Iterator[None]:
        """Says in a sentence what a disk refuses, and removes what it took of the checkpoint."""
        folder = Path(self._managers[kind].directory)
        try:
            yield
        except Exception as error:
            failure = failures.of_file(error, folder, needed=self._sizes[kind])
            if failure is None:
                raise
            for left in folder.glob(f"*{_UNFINISHED}"):
                shutil.rmtree(left, ignore_errors=True)
            raise failure from error


def find(run_dir: Path, kind: str | None = None) -> Path:
    """The folder of a run's checkpoint: best where there is one, else latest, or the one named.

    Raises:
        UserError: the run has no such checkpoint.
    """
    kinds = [kind] if kind else ["best", "latest"]
    for each in kinds:
        folder = Path(run_dir) / FOLDERS[each]
        steps = [int(p.name) for p in folder.glob("*") if p.name.isdigit()]
        if steps:
            return folder / str(max(steps))
    raise UserError(
        f"{run_dir} holds no {' or '.join(kinds)} checkpoint; expected a run directory with "
        f"{' or '.join(FOLDERS[each] + '/<step>' for each in kinds)}"
    )


def describe(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint says of itself: config, split, orders, versions, accuracies, step.

    Raises:
        UserError: it can't be read whole.
    """
    with _whole(checkpoint):
        return json.loads(_description(checkpoint).read_text(encoding="utf-8"))


def read(checkpoint: Path) -> dict[str, PyTree]:
    """All arrays of a checkpoint as nested dicts of NumPy arrays.

    Raises:
        UserError: it can't be read whole.
    """
    with _whole(checkpoint):
        return ocp.PyTreeCheckpointer().restore((checkpoint / "state").absolute())


def _description(checkpoint: Path) -> Path:
    """The file that Orbax writes a checkpoint's description to."""
    return checkpoint / "description" / "metadata"


def size(state: PyTree) -> int:
    """The bytes that a checkpoint of the state takes on a disk, at most."""
    return _BESIDE + sum(leaf.nbytes for leaf in jax.tree.leaves(state))


class _Echoes:
    """Drops what Orbax's threads print of an error that `Checkpoints.wait` raises."""

    def __init__(self):
        self._before = sys.unraisablehook
        sys.unraisablehook = self._show
        logging.getLogger("absl").addFilter(self._is_none)

    def stop(self) -> None:
        logging.getLogger("absl").removeFilter(self._is_none)
        if sys.unraisablehook == self._show:
            sys.unraisablehook = self._before

    def _show(self, raised: Any) -> None:
        if str(raised.exc_value) != "Event loop is closed":  # by the first of several errors
            self._before(raised)

    @staticmethod
    def _is_none(record: logging.LogRecord) -> bool:
        return record.levelno < logging.ERROR or "orbax" not in Path(record.pathname).parts


@contextmanager
def _whole(checkpoint: Path) -> Iterator[None]:
    """Says of a file that is missing or cut short whose it is."""
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).partition(" [")[0]  # then TensorStore goes on for pages
        raise UserError(f"checkpoint {checkpoint} can't be read whole: {reason}") from error
