"""The metrics of a run on disk: `metrics.jsonl` and TensorBoard events."""

import json
import math
import os
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from rubik_jax.metrics import for_json


class Records:
    """Writes one JSON line and one set of TensorBoard scalars per record.

    A run that is resumed from a checkpoint first cuts the lines back to it, so that the file is
    what an uninterrupted run would have written.
    """

    def __init__(self, workdir: Path, step: int, *, complete: bool = True):
        """Opens the records of a run that stands at `step`.

        Args:
            workdir: the run's.
            step: the last that was trained.
            complete: whether also what is evaluated at that step has been; else it will be again.
        """
        self._path = Path(workdir) / "metrics.jsonl"
        self._cut_back(step, complete)
        self._file = self._path.open("a", encoding="utf-8")
        self._events = SummaryWriter(str(Path(workdir) / "tensorboard"), purge_step=step + 1)

    def write(self, part: str, step: int, numbers: dict[str, float]) -> None:
        """Records numbers of "train", "validation" or "test" at a step."""
        self._file.write(json.dumps({"part": part, "step": step, **for_json(numbers)}) + "\n")
        self._file.flush()
        for name, value in numbers.items():
            if math.isfinite(value):  # what doesn't exist, such as the Dice of an absent label
                self._events.add_scalar(f"{part}/{name}", value, step)

    def close(self) -> None:
        """Closes both files."""
        self._file.close()
        self._events.close()

    def _cut_back(self, step: int, complete: bool) -> None:
        kept = [
            r
            for r in read(self._path)
            if (r["step"] < step or (r["step"] == step and (complete or r["part"] == "train")))
            and r["part"] != "test"
        ]
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(r) + "\n" for r in kept), encoding="utf-8")
        os.replace(temporary, self._path)


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a `metrics.jsonl`; a last line cut short by a crash is left out."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records
