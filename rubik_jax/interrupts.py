"""Signals that ask the process to end: noted when they come, obeyed where nothing is half-done."""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from typing import NoReturn, TypeVar

from rubik_jax.errors import Interrupted

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
LOOK = 0.1  # seconds between looks, while something else is waited for
TOGETHER = 0.1  # seconds within which signals count as one: timeout(1) sends each twice

# A handler that raises does so wherever Python stands, also in a callback that swallows what is
# raised. So the handler only notes the number, and loops call `check` where they can end. Python
# runs handlers between two instructions of the main thread, which may be in XLA's compiler for
# minutes: the wakeup descriptor, which C writes to, tells a thread of the second signal at once.


class _Caught:
    """What has come so far; one for the whole process, as signals are."""

    number = 0  # of the first signal
    active = False
    over = False  # the work is done, and a first signal ends the process


def install() -> None:
    """As `catch`, until the process ends; for a program, ahead of imports that take a while."""
    if not _Caught.active:
        _begin()
        # Python's own end takes the handlers away, and a signal would change a status of 0.
        atexit.register(_ignore)


@contextmanager
def catch() -> Iterator[None]:
    """Notes the first of `SIGNALS` for `check`, and ends the process at the second.

    Within another such context it does nothing, and so it does outside of the main thread, where
    Python can't have handlers.
    """
    if _Caught.active or threading.current_thread() is not threading.main_thread():
        yield
        return
    end = _begin()
    try:
        yield
    finally:
        end()


def requested() -> bool:
    """Whether a signal has asked the process to end."""
    return _Caught.number > 0


def check() -> None:
    """Raises `Interrupted` where a signal has come; to be called where nothing is half-done."""
    if _Caught.number:
        raise Interrupted(_Caught.number)


def pause(seconds: float) -> None:
    """Sleeps; raises `Interrupted` as soon as a signal comes."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check()
        time.sleep(min(left, LOOK))
    check()


def done(future: Future) -> bool:
    """Waits for a thread's work; returns False where a signal comes before it's done."""
    while not wait([future], timeout=LOOK).done:
        if requested():
            return False
    return True


def result(future: Future[T]) -> T:
    """What a thread's work gives; raises `Interrupted` where a signal comes before that."""
    if not done(future):
        check()
    return future.result()


def exit_with(status: int) -> NoReturn:
    """Ends the program that called `install`, whose work is done or was given up.

    Where the work was given up, or a signal ends the wait for threads, it doesn't wait for them:
    what they still read, from a slow disk say, is for nobody, and one that failed may never end.
    """
    _Caught.over = True
    if status == 0 and _Caught.number:
        status = 128 + _Caught.number
    if status:
        _leave(status)
    sys.exit(status)


def _leave(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _begin() -> Callable[[], None]:
    """Installs the handlers; returns what restores those that there were."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    _Caught.active, _Caught.number = True, 0
    before = {number: signal.signal(number, _note) for number in SIGNALS}
    woken = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    thread = threading.Thread(target=_watch, args=(reader,), daemon=True)
    thread.start()

    def end() -> None:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        os.close(writer)  # which ends the thread
        thread.join()
        os.close(reader)
        _Caught.active, _Caught.number = False, 0

    return end


def _ignore() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _note(number: int, *_: object) -> None:
    _Caught.number = _Caught.number or number


def _watch(reader: int) -> None:
    """Says that the first signal was noted, and ends the process at a later one."""
    first = None
    while numbers := os.read(reader, 64):
        for number in numbers:
            if number not in SIGNALS:
                continue
            if _Caught.over:
                _leave(128 + number)
            if first is None:
                _note(number)
                first = time.monotonic()
                with suppress(OSError, ValueError):
                    print(
                        f"{signal.Signals(number).name}: ends as soon as nothing is left half-done;"
                        " a second signal ends at once",
                        flush=True,
                    )
            elif time.monotonic() - first > TOGETHER:
                os._exit(128 + number)
