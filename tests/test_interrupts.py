"""A signal is noted wherever Python stands and obeyed at safe points; a second one ends at once."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rubik_jax import interrupts
from rubik_jax.data import entries
from rubik_jax.errors import Interrupted

REPOSITORY = Path(__file__).parents[1]

# In C, without a look at signals, as a compiler is.
DEAF = """
import hashlib
from rubik_jax import interrupts
interrupts.install()
print("begun", flush=True)
hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""
# The work is done; a thread still reads for a while, or Python takes itself down.
DONE = """
import threading, time
from rubik_jax import interrupts
class Slow:
    def __del__(self):
        print("begun", flush=True)
        time.sleep(1)
interrupts.install()
"""
READING = (
    DONE
    + """
threading.Thread(target=Slow().__del__).start()
interrupts.exit_with(0)
"""
)
FINISHING = (
    DONE
    + """
slow = Slow()
interrupts.exit_with(0)
"""
)


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_the_first_signal_is_noted_and_the_handlers_of_before_come_back(number):
    before = signal.getsignal(number)
    with interrupts.catch():
        interrupts.check()
        assert not interrupts.requested()
        os.kill(os.getpid(), number)
        assert interrupts.requested()
        with interrupts.catch(), pytest.raises(Interrupted) as raised:
            interrupts.check()
        assert raised.value.status == 128 + number
        assert interrupts.requested()
    assert signal.getsignal(number) is before
    assert not interrupts.requested()


def test_a_signal_in_a_callback_that_swallows_what_is_raised_is_not_lost():
    def collected(phase, info):
        if phase == "start" and not interrupts.requested():
            os.kill(os.getpid(), signal.SIGINT)

    with interrupts.catch():
        gc.callbacks.append(collected)
        try:
            gc.collect()
        finally:
            gc.callbacks.remove(collected)
        with pytest.raises(Interrupted):
            interrupts.check()


def test_other_threads_neither_catch_nor_fail():
    with ThreadPoolExecutor(1) as pool, interrupts.catch():

        def inside() -> bool:
            with interrupts.catch():
                return interrupts.requested()

        assert not pool.submit(inside).result()
    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(inside).result()


def test_waits_end_when_a_signal_comes():
    held, begun = threading.Event(), time.monotonic()
    with interrupts.catch(), ThreadPoolExecutor(2) as pool:
        try:
            stuck, quick = pool.submit(held.wait, 60), pool.submit(int)
            assert interrupts.result(quick) == 0
            interrupts.pause(0.01)
            os.kill(os.getpid(), signal.SIGTERM)
            for wait in (lambda: interrupts.result(stuck), lambda: interrupts.pause(60)):
                with pytest.raises(Interrupted):
                    wait()
            assert not interrupts.done(stuck) and interrupts.done(quick)
        finally:
            held.set()
    assert time.monotonic() - begun < 30


def test_of_threads_what_was_begun_is_finished_and_nothing_else_begins():
    begun, finished = [], []

    def one(item: int) -> int:
        begun.append(item)
        if item == 1:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        finished.append(item)
        return item

    with interrupts.catch(), pytest.raises(Interrupted):
        entries.in_threads(one, range(1, 50), workers=2, progress=None)
    assert sorted(begun) == sorted(finished) and len(begun) <= 4


def start(code: str) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begun\n"
    return process


def test_a_second_signal_ends_the_process_whatever_it_is_in():
    process = start(DEAF)
    process.send_signal(signal.SIGTERM)
    assert "SIGTERM: ends as soon as" in process.stdout.readline()
    time.sleep(2 * interrupts.TOGETHER)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 128 + signal.SIGINT
    process.stdout.close()


def test_a_signal_that_comes_twice_at_once_counts_as_one():
    """As timeout(1) sends it, to the process and to its group."""
    process = start(DEAF)
    for _ in range(2):
        process.send_signal(signal.SIGTERM)
    assert "SIGTERM: ends as soon as" in process.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    process.kill()
    process.communicate()


@pytest.mark.parametrize("status", [1, 2])
def test_work_that_was_given_up_waits_for_no_thread(status):
    code = (
        "import threading\nfrom rubik_jax import interrupts\ninterrupts.install()\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        f"print('begun', flush=True)\ninterrupts.exit_with({status})"
    )
    process = start(code)
    assert process.wait(timeout=30) == status
    process.stdout.close()


@pytest.mark.parametrize(("code", "status"), [(READING, 128 + signal.SIGTERM), (FINISHING, 0)])
def test_a_signal_to_a_program_at_its_end_gives_a_status_of_the_table(code, status):
    process = start(code)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == status
    process.stdout.close()
