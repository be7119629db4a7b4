"""A folder is held by one process at a time, and a crash of its holder gives it back."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rubik_jax import claims
from rubik_jax.claims import claim, holder
from rubik_jax.errors import RunError, UserError

REPOSITORY = Path(__file__).parents[1]

# Says which folder it holds, and finds out by a file of its own whether another does too.
RACE = """
import sys, time
from pathlib import Path
from rubik_jax.claims import claim
root, wanted, begin = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
time.sleep(max(0, begin - time.time()))
got = set()
while len(got) < wanted:
    for name in map(str, range(wanted)):
        if name not in got:
            with claim(root / name) as mine:
                if mine:
                    (root / f"{name}.inside").open("x").close()
                    time.sleep(0.002)
                    (root / f"{name}.inside").unlink()
                    got.add(name)
                    print(name, flush=True)
"""
HOLD = """
import sys, time
from pathlib import Path
from rubik_jax.claims import claim
with claim(Path(sys.argv[1])) as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


def start(code: str, *arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def held(tmp_path):
    """A folder that another process holds, and that process."""
    process = start(HOLD, tmp_path / "cell")
    assert process.stdout.readline() == "True\n"
    yield tmp_path / "cell", process
    process.kill()
    process.communicate()


def forge(folder: Path, number: int = 1, *, ago: float, **changed) -> Path:
    """A claim of this process that another machine made, or what else is changed."""
    path = folder / claims.CLAIMS / str(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(claims._who() | {"host": "far", "place": ["far"]} | changed))
    os.utime(path, (time.time() - ago,) * 2)
    return path


@pytest.mark.parametrize("dead", [False, True])
def test_each_of_many_processes_holds_each_folder_alone(tmp_path, dead):
    if dead:  # then they also race to follow one that is stale
        for name in "01234":
            forge(tmp_path / name, ago=1000)
    begin = time.time() + 0.5
    processes = [start(RACE, tmp_path, 5, begin) for _ in range(6)]
    said = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * 6
    assert [sorted(names) for names in said] == [list("01234")] * 6


@pytest.mark.parametrize("reaped", [False, True])
def test_a_killed_holder_is_followed_at_once(held, reaped):
    folder, process = held
    with claim(folder) as mine:
        assert not mine
    assert f"process {process.pid}, since 20" in holder(folder)
    process.send_signal(signal.SIGKILL)
    if reaped:
        process.wait()
    else:  # a zombie still has its number
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert holder(folder) is None
    with claim(folder) as mine:
        assert mine


def test_a_holder_that_stands_still_on_this_machine_keeps_its_folder(held):
    folder, process = held
    process.send_signal(signal.SIGSTOP)
    os.utime(folder / claims.CLAIMS / "1", (time.time() - 1000,) * 2)
    with claim(folder) as mine:
        assert not mine


def test_a_claim_is_given_back_by_an_exception_too(tmp_path):
    folder = tmp_path / "cell"
    for _ in range(3):
        with pytest.raises(RuntimeError), claim(folder) as mine:
            assert mine
            assert f"process {os.getpid()}" in holder(folder)
            with claim(folder) as again:
                assert not again
            raise RuntimeError
        assert holder(folder) is None
    assert not folder.exists()


@pytest.mark.parametrize(
    ("changed", "ago", "taken"),
    [
        ({}, 500, False),
        ({}, 700, True),
        ({"place": claims._place(), "begun": "0"}, 0, True),  # the number is another process's now
        ({"place": claims._place()}, 5000, False),
        ({"place": [*claims._place()[:1], "an earlier boot", ""]}, 500, False),
        ({"place": [*claims._place()[:1], "an earlier boot", ""]}, 700, True),
    ],
)
def test_a_claim_counts_by_its_process_here_and_by_its_age_elsewhere(tmp_path, changed, ago, taken):
    folder = tmp_path / "cell"
    forge(folder, ago=ago, **changed)
    assert (holder(folder) is None) == taken
    with claim(folder, stale=600) as mine:
        assert mine == taken


@pytest.mark.parametrize(("ago", "taken"), [(500, False), (700, True)])
def test_a_claim_cut_short_counts_by_its_age(tmp_path, ago, taken):
    folder = tmp_path / "cell"
    path = forge(folder, ago=0)
    path.write_text(path.read_text()[:20])
    os.utime(path, (time.time() - ago,) * 2)
    assert (holder(folder) is None) == taken
    with claim(folder) as mine:
        assert mine == taken


def test_a_holder_that_was_followed_leaves_its_successor_alone(tmp_path):
    folder = tmp_path / "cell"
    with claim(folder):
        successor = forge(folder, 2, ago=1)
        before = successor.read_text(), successor.stat().st_mtime
    assert (successor.read_text(), successor.stat().st_mtime) == before
    assert "host far" in holder(folder)


def test_a_claim_is_renewed_while_it_is_held(tmp_path):
    folder = tmp_path / "cell"
    path = folder / claims.CLAIMS / "1"
    with claim(folder, beat=0.02):
        os.utime(path, (time.time() - 1000,) * 2)
        deadline = time.monotonic() + 10
        while path.stat().st_mtime < time.time() - 500 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > time.time() - 500


def test_what_may_have_been_seen_over_is_given_back_and_not_deleted(tmp_path):
    """Who saw it over is about to make the next number, which must not begin anew."""
    folder = tmp_path / "cell"
    with claim(folder, stale=0.02):
        time.sleep(0.05)
    assert (folder / claims.CLAIMS / "1").stat().st_mtime == claims.RELEASED
    with claim(folder) as mine:
        assert mine and (folder / claims.CLAIMS / "2").exists()
    assert [path.name for path in (folder / claims.CLAIMS).iterdir()] == ["1"]


def test_a_claim_leaves_nothing_but_what_was_written(tmp_path):
    with claim(tmp_path / "new" / "run"):
        pass
    assert not list(tmp_path.iterdir())
    with claim(tmp_path / "new" / "run"):
        (tmp_path / "new" / "run" / "file").touch()
    assert [path.name for path in (tmp_path / "new" / "run").iterdir()] == ["file"]


def test_a_held_folder_is_refused_in_a_sentence_that_names_the_holder(held):
    folder, process = held
    said = rf"cell is being written by another command \(host .*, process {process.pid}, since 20"
    with pytest.raises(UserError, match=said), claims.hold(folder):
        pass
    process.kill()
    process.wait()
    with claims.hold(folder):
        assert f"process {os.getpid()}" in holder(folder)


def test_a_link_to_a_folder_is_that_folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    with claim(tmp_path / "run"), claim(tmp_path / "link") as mine:
        assert not mine


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    said = r"file/cell can't be claimed: .*; expected a folder"
    with pytest.raises(UserError, match=said), claim(tmp_path / "file" / "cell"):
        pass
    assert holder(tmp_path / "cell") is None
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_full_disk_leaves_no_claim(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(json, "dump", full)
        said = "there is no space left on the disk of"
        with pytest.raises(RunError, match=said), claims.hold(tmp_path / "run"):
            pass
        assert not (tmp_path / "run").exists()
    with claims.hold(tmp_path / "run"):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    said = r"link can't be claimed: .*; expected a folder"
    with pytest.raises(UserError, match=said), claims.hold(tmp_path / "link"):
        pass
