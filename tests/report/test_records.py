"""The records of a resumed run are those of one that was never interrupted."""

import json
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from rubik_jax.report.records import Records, read


def line(part: str, step: int) -> dict:
    return {"part": part, "step": step, "loss": 1.0 / step}


def write(folder: Path, start: int, steps, part: str = "train") -> None:
    records = Records(folder, start)
    for step in steps:
        records.write(part, step, {"loss": 1.0 / step})
    records.close()


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """What the event files hold: each event is its length in 8 bytes, 4 of a sum, itself, 4."""
    found = []
    for path in sorted((folder / "tensorboard").iterdir()):
        rest = path.read_bytes()
        while rest:
            length = int.from_bytes(rest[:8], "little")
            event = Event.FromString(rest[12 : 12 + length])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            rest = rest[16 + length :]
    return found


def test_a_resumed_run_drops_what_lies_beyond_its_step_and_the_test(tmp_path):
    write(tmp_path, 0, [2, 4, 6])
    write(tmp_path, 6, [6], "test")
    write(tmp_path, 4, [6, 8])
    kept = [line("train", step) for step in (2, 4, 6, 8)]
    assert read(tmp_path / "metrics.jsonl") == kept
    Records(tmp_path, 0).close()
    assert read(tmp_path / "metrics.jsonl") == []


def test_an_evaluation_done_again_leaves_one_test_line(tmp_path):
    write(tmp_path, 0, [2])
    for _ in range(2):
        write(tmp_path, 2, [2], "test")
    assert read(tmp_path / "metrics.jsonl") == [line("train", 2), line("test", 2)]


def test_a_line_cut_short_by_a_crash_is_dropped_and_not_written_behind(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write(tmp_path, 0, [1, 2])
    whole = path.read_text()
    path.write_text(whole + json.dumps(line("train", 3))[:17])
    assert read(path) == [line("train", 1), line("train", 2)]
    write(tmp_path, 2, [3])
    assert path.read_text() == whole + json.dumps(line("train", 3)) + "\n"


def test_no_records_are_no_error(tmp_path):
    assert read(tmp_path / "metrics.jsonl") == []


def test_tensorboard_gets_every_number_under_its_part_without_a_word(tmp_path, caplog):
    records = Records(tmp_path, 0)
    records.write("train", 1, {"loss": 1.0, "rate": 0.25})
    records.write("validation", 2, {"loss": 0.5, "dice_7": float("nan")})
    records.close()
    assert not caplog.records
    assert scalars(tmp_path) == [
        ("train/loss", 1, 1.0),
        ("train/rate", 1, 0.25),
        ("validation/loss", 2, 0.5),
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_an_error_where_it_is_written_and_no_wait_without_end(tmp_path, monkeypatch):
    records = Records(tmp_path, 0)
    with Path("/dev/full").open("wb", buffering=0) as full, monkeypatch.context() as patched:
        patched.setattr(records._events._writer._py_recordio_writer, "_writer", full)
        for step in range(1, 99):
            with pytest.raises(OSError, match="No space left"):
                records.write("train", step, {"loss": 1.0})
    records.close()
