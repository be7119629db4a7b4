"""The metrics of a run on disk: `metrics.jsonl` and TensorBoard events."""

import json
import math
import time
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from rubik_jax.data.writing import whole
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
        self._events = _Events(Path(workdir) / "tensorboard", step + 1)

    def write(self, part: str, step: int, numbers: dict[str, float]) -> None:
        """Records numbers of "train", "validation" or "test" at a step."""
        self._file.write(json.dumps({"part": part, "step": step, **for_json(numbers)}) + "\n")
        self._file.flush()
        # What doesn't exist, such as the Dice of an absent label, is left out.
        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
        self._events.add({f"{part}/{name}": value for name, value in finite.items()}, step)

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
        with whole(self._path) as file:
            file.write("".join(json.dumps(r) + "\n" for r in kept).encode())


class _Events:
    """TensorBoard's events, written where they come up.

    tensorboardX has a thread write them. Where the disk is full that thread ends, and then the run
    waits for it without end.
    """

    def __init__(self, folder: Path, first: int):
        """Begins a file; of those before, TensorBoard no longer shows the steps from `first` on."""
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"))
        self._write(Event(session_log=SessionLog(status=SessionLog.START)), first)

    def add(self, scalars: dict[str, float], step: int) -> None:
        for name, value in scalars.items():
            self._write(Event(summary=scalar(name, value)), step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _write(self, event: Event, step: int) -> None:
        event.step, event.wall_time = step, time.time()
        self._writer.write_event(event)


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
