"""A digest is of a file's content, and remembered only as long as the file can't have changed."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rubik_jax.data import digests
from rubik_jax.data.digests import FILE, Digests, remembered
from rubik_jax.data.identity import digest_of
from rubik_jax.errors import UserError


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The names of the files that are read, in order."""
    read, names = digests._digest, []
    monkeypatch.setattr(digests, "_digest", lambda path: names.append(path.name) or read(path))
    return names


@pytest.fixture
def settled(monkeypatch):
    """Files that were just written count as old ones."""
    monkeypatch.setattr(digests, "_GRAIN", -(10**9))
    monkeypatch.setattr(digests, "_settled", lambda *_: True)


def written(path: Path, content: bytes = b"voxels") -> Path:
    path.write_bytes(content)
    return path


def take(folder: Path, *paths: Path, keep: bool = True) -> list[str]:
    with remembered(folder, keep=keep) as found:
        return [found.digest(path) for path in paths]


def test_equal_files_have_one_digest_and_others_another(tmp_path):
    names = {"a": b"1", "b": b"1", "c": b"2", "d": b""}
    files = [written(tmp_path / name, content) for name, content in names.items()]
    one, same, other, empty = take(tmp_path, *files)
    assert one == same and len({one, other, empty}) == 3


def test_what_is_unchanged_is_not_read_again(tmp_path, reads, settled):
    file = written(tmp_path / "a")
    known = take(tmp_path, file)
    assert take(tmp_path, file) == known and reads == ["a"]
    (tmp_path / "link").symlink_to(file)
    assert take(tmp_path, tmp_path / "link") == known  # which has a path of its own


@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_a_change_that_keeps_size_and_time_is_found(tmp_path, settled, how):
    file = written(tmp_path / "a", b"one")
    before, known = file.stat(), take(tmp_path, file)
    target = file if how == "in place" else tmp_path / "new"
    time.sleep(0.02)  # more than the clock of a file system's times moves by
    written(target, b"two")
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    target.replace(file)
    now = file.stat()
    assert (now.st_size, now.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert take(tmp_path, file) != known


def test_a_file_that_was_just_written_is_not_relied_on(tmp_path, reads, monkeypatch):
    file = written(tmp_path / "a")
    take(tmp_path, file)
    take(tmp_path, file)
    assert reads == ["a", "a"] and not (tmp_path / FILE).exists()
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 10**10)
    take(tmp_path, file)
    take(tmp_path, file)
    assert reads == ["a"] * 3
    # A clock that is behind that of the file system tells nothing.
    monkeypatch.setattr(time, "time_ns", lambda: now - 10**10)
    take(tmp_path, written(tmp_path / "b"))
    take(tmp_path, tmp_path / "b")
    assert reads == [*"aaabb"]


def test_lines_that_are_torn_or_not_ours_are_passed_over(tmp_path, reads, settled):
    files = [written(tmp_path / name, name.encode()) for name in "ab"]
    known = take(tmp_path, *files)
    kept = (tmp_path / FILE).read_bytes()
    first, second = kept.split()[0], kept.strip().splitlines()[1]
    for spoilt, lost in (
        (kept[: len(kept) // 3], 2),
        (b"\xff\x00 no JSON\n" * 3, 2),
        (b"", 2),
        (kept.replace(known[0].encode(), known[1].encode()), 1),
        (first + b" " + second.partition(b" ")[2], 2),
    ):
        (tmp_path / FILE).write_bytes(spoilt)
        reads.clear()
        assert take(tmp_path, *files) == known
        assert take(tmp_path, *files) == known  # by what was written down after the torn line
        assert len(reads) == lost


def test_the_file_is_as_long_as_there_are_files(tmp_path, settled, monkeypatch):
    monkeypatch.setattr(digests, "_SPARE", 3)
    file = tmp_path / "a"
    for i in range(12):
        known = take(tmp_path, written(file, b"%d" % i))
        assert len((tmp_path / FILE).read_bytes().split(b"\n")) < 16
    assert take(tmp_path, file) == known


def test_threads_read_a_file_once(tmp_path, reads, monkeypatch):
    slow = digests._digest
    monkeypatch.setattr(digests, "_digest", lambda path: time.sleep(0.05) or slow(path))
    file = written(tmp_path / "large")
    found = Digests(tmp_path, keep=False)
    with ThreadPoolExecutor(8) as pool:
        assert len({*pool.map(found.digest, [file] * 32)}) == 1
    assert reads == ["large"]


def test_processes_share_the_file(tmp_path, settled):
    files = [written(tmp_path / f"{i}", b"%d" % i) for i in range(20)]
    ours, theirs = Digests(tmp_path, keep=True), Digests(tmp_path, keep=True)
    for file in files:
        (ours if int(file.name) % 2 else theirs).digest(file)
        ours.save()
        theirs.save()
    assert len(Digests(tmp_path, keep=True)._kept) == 20


def test_a_store_that_cannot_be_written_costs_time_alone(tmp_path, settled, reads):
    file = written(tmp_path / "a")
    assert take(file / "below", file) == take(tmp_path / "nowhere", file, keep=False)
    assert file.is_file() and not (tmp_path / "nowhere").exists()
    assert reads == ["a", "a"]


def test_a_file_that_is_gone_or_written_all_the_while_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"absent cannot be read: No such file"):
        take(tmp_path, tmp_path / "absent")
    file, contents = written(tmp_path / "a"), iter(range(9))
    monkeypatch.setattr(digests, "_digest", lambda path: written(path, b"x" * next(contents)).name)
    with pytest.raises(UserError, match=r"a changes while it is read: expected a file that is"):
        take(tmp_path, file)


META = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    "DimSize = 4 5 2\nElementType = MET_SHORT\nElementDataFile = "
)
NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nspace: LPS\nsizes: 4 5 2\nendian: little\n"
    "encoding: raw\ndata file: "
)


@pytest.mark.parametrize("header", [META, NRRD])
@pytest.mark.parametrize(
    "named", ["LIST 2\ns1.raw\ns2.raw\n", "LIST\ns1.raw\ns2.raw", "s%d.raw 1 2 1"]
)
def test_every_file_that_a_header_lists_counts(tmp_path, header, named):
    path = tmp_path / ("a.mhd" if header is META else "a.nhdr")
    path.write_text(header + named)
    for i in (1, 2):
        written(tmp_path / f"s{i}.raw", bytes(40))
    known = digest_of(path, None, Digests(tmp_path, keep=False))
    written(tmp_path / "s2.raw", bytes(39) + b"1")
    assert digest_of(path, None, Digests(tmp_path, keep=False)) != known
