"""What a machine fails in is told from mistakes and from bugs, in one sentence that says more."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import classify, pretrain
from rubik_jax import failures
from rubik_jax.errors import UserError

REPOSITORY = Path(__file__).parents[1]
TENSORSTORE = (
    'RESOURCE_EXHAUSTED: Error writing "params/0.0" in OCDBT database: Failed to write 16 bytes to '
    "file 4: {} [os_error_code='{}']"
)


def words(error, *more) -> str:
    found = failures.known(error, *more)
    assert found is not None and "\n" not in str(found)
    return f"{type(found).__name__}: {found}"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "x"), "RunError: there is no space left on the disk of {} (0 bytes"),
        (ValueError(TENSORSTORE.format("No space left on device", 28)), "RunError: there is no sp"),
        (OSError("10560 requested and 8128 written"), "RunError: there is no space left"),
        (OSError(errno.EDQUOT, "x"), "RunError: your quota is used up on the disk of {}"),
        (ValueError(TENSORSTORE.format("Disk quota exceeded", 122)), "RunError: your quota"),
        (OSError(errno.EFBIG, "x"), "RunError: {} would be larger than"),
        (OSError(errno.EMFILE, "x", "/a/b"), "RunError: no more files may be open at once, of wh"),
        (OSError(errno.EROFS, "x", "/a/b"), "UserError: /a/b lies on a disk that can only be read"),
        (OSError(errno.EIO, "x"), "RunError: the disk of {} fails (Input/output error)"),
        (OSError(errno.ESTALE, "x"), "RunError: the disk of {} fails (Stale file handle)"),
    ],
)
def test_what_a_disk_refuses_has_a_sentence(tmp_path, monkeypatch, error, expected):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    assert words(error, tmp_path).startswith(expected.format(tmp_path))


def test_a_disk_that_is_not_full_is_not_blamed(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**12))
    assert "left where the command writes: make" in words(OSError(errno.ENOSPC, "x"), tmp_path)
    assert f"left on the disk of {tmp_path} (1 TB free" in words(
        OSError(errno.ENOSPC, "x", str(tmp_path)), tmp_path / "other"
    )


def test_the_space_that_is_needed_and_free_is_named(tmp_path):
    found = failures.of_file(OSError(errno.ENOSPC, "x"), tmp_path / "no" / "file", needed=1 << 30)
    assert "(1.07 GB needed, " in str(found) and " free): make room there" in str(found)
    assert "the same command goes on" in str(found)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1e3, "1 kB"), (2.5e15, "2.5e+03 TB")]
)
def test_amounts(count, text):
    assert failures.amount(count) == text


def test_memory_names_the_knobs_that_take_it():
    config = classify.get_config("debug").to_dict()
    with pytest.raises(MemoryError) as caught:
        np.empty(2**50, np.float32)
    found = words(caught.value, None, config)
    assert found.startswith("RunError: out of memory on the host (4.5e+03 TB was requested)")
    named = {
        "batch_size": config["batch_size"],
        "window": config["window"],
        "accumulate": 1,
        "inference.batch_size": config["inference"]["batch_size"],
    }
    assert all(f"config.{name}={value}" in found for name, value in named.items())
    assert "config.model.encoder.remat=norms or stages, not none" in found
    assert "config.proxy.cube=" in words(
        MemoryError(), None, pretrain.get_config("debug").to_dict()
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("RESOURCE_EXHAUSTED: Out of memory allocating 137438953472 bytes.", "137 GB"),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1610612736 bytes.", "1.61 GB"),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 2.00GiB.", "2.15 GB"),
        ("INTERNAL: Failed to allocate 12 bytes: CUDA_ERROR_OUT_OF_MEMORY", "12 bytes"),
        ("RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in hbm", ""),
    ],
)
def test_a_devices_memory_is_told_by_what_xla_says(text, size):
    found = words(jax.errors.JaxRuntimeError(text), None, {})
    assert found.startswith("RunError: out of memory on the device")
    assert not size or f"({size} was requested)" in found


def test_what_a_failure_was_raised_from_counts(tmp_path):
    with pytest.raises(RuntimeError) as caught:
        try:
            raise OSError(errno.ENOSPC, "x")
        except OSError as error:
            raise RuntimeError("a library gave up") from error
    assert words(caught.value, tmp_path).startswith("RunError: there is no space left")
    with pytest.raises(KeyError) as caught:
        try:
            raise UserError("the sentence")
        except UserError:
            raise KeyError("a second error") from None
    assert failures.known(caught.value) is None


@pytest.mark.parametrize(
    "bug",
    [
        ValueError("shapes (3,) and (4,)"),
        KeyError("memory"),
        FileNotFoundError(errno.ENOENT, "x", "/a"),
        jax.errors.JaxRuntimeError("INTERNAL: something else"),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Shared memory size limit exceeded"),
        AssertionError(),
    ],
)
def test_a_bug_keeps_its_traceback(bug):
    assert failures.known(bug) is None


def run(command: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs a line of bash, in which $PYTHON is this Python; the status is the first command's."""
    return subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
        cwd=REPOSITORY,
        env={**os.environ, **environment, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


SAY = "from rubik_jax.report.progress import say, print_anywhere\n"


def test_a_terminal_that_lacks_a_character_shows_another():
    program = f"{SAY}print_anywhere()\nsay('1 mm\\xb3 \\u2014 \\xbd')"
    shown = run(f'"$PYTHON" -X utf8=0 -c "{program}"', PYTHONIOENCODING="ascii", LC_ALL="C")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "1 mm? ? ?\n", "")


@pytest.mark.parametrize("words", ["--help", "--help --config=configs/segment.py"])
def test_a_help_text_that_nobody_reads_on_is_no_error_of_the_program(words):
    ended = run(f'"$PYTHON" -m rubik_jax.main {words} | head -1')
    assert ended.returncode in (0, 141) and "Traceback" not in ended.stderr


def test_a_command_whose_output_nobody_reads_on_ends_as_by_sigpipe():
    program = (
        f"{SAY}import sys\nfrom rubik_jax.errors import Interrupted\n"
        "try:\n  while True: say('x')\nexcept Interrupted as error: sys.exit(error.status)"
    )
    ended = run(f'"$PYTHON" -c "{program}" | head -2')
    assert (ended.returncode, ended.stdout, ended.stderr) == (141, "x\nx\n", "")
