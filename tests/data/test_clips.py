"""The generated clips: reproducible, told apart by nothing but motion, and written once."""

import numpy as np
import pytest

from rubik_jax.data import clips
from rubik_jax.data.cases import Where
from rubik_jax.data.formats import Clip
from rubik_jax.data.sources import find_cases
from rubik_jax.errors import UserError

COUNT = 48
WHERE = Where(None, count=clips.LEAST, seed=2, clip=Clip(4, 24))


@pytest.fixture(scope="module")
def drawn():
    return [clips.generate(5, clip) for clip in range(COUNT)]


def test_a_clip_is_a_function_of_seed_and_number(drawn):
    again, _ = clips.generate(5, 7)
    np.testing.assert_array_equal(drawn[7][0], again)
    for pictures in (clips.generate(6, 7)[0], drawn[7 + len(clips.KINDS)][0]):
        assert np.abs(pictures[0] - again[0].astype(float)).mean() > 10
    assert clips.encode(again, 25) == clips.encode(again, 25)


def test_classes_take_turns_and_every_length_and_size_is_kept(drawn):
    assert [kind for _, kind in drawn] == [*clips.KINDS] * (COUNT // len(clips.KINDS))
    lengths = {len(pictures) for pictures, _ in drawn}
    assert clips.LENGTHS[0] <= min(lengths) < max(lengths) <= clips.LENGTHS[1]
    assert {pictures.shape[1:] for pictures, _ in drawn} == {(48, 64, 3)}


def drift(pictures):
    """How far the middle of what stands out moves, in pixels right and down, start to end."""
    ends = []
    for part in (pictures[:3], pictures[-3:]):
        odd = np.abs(part - np.median(part, (1, 2), keepdims=True)).sum(-1).mean(0)
        odd = np.where(odd > np.quantile(odd, 0.93), odd, 0)
        ends.append([(at * odd).sum() / odd.sum() for at in np.indices(odd.shape)[::-1]])
    return np.subtract(*ends[::-1])


def test_motions_are_what_their_names_say(drawn):
    moved = {kind: [] for kind in clips.KINDS}
    for pictures, kind in drawn:
        moved[kind].append(drift(pictures.astype(float)))
    x, y = np.array([np.mean(moved[kind], axis=0) for kind in clips.KINDS[:4]]).T
    assert x[0] < -8 and x[1] > 8 and max(np.abs(x[2:])) < 8
    assert y[2] < -8 and y[3] > 8 and max(np.abs(y[:2])) < 8


def test_every_split_trains_on_and_tests_every_class(tmp_path):
    for division in (1, 2, 3):
        where = WHERE._replace(path=tmp_path / "clips", division=division)
        cases = find_cases("clips", where).cases
        assert len(cases) == clips.LEAST
        for part in ("train", "test"):
            assert {case.target for case in cases if case.part == part} == {*clips.KINDS}
        tested = {case.name for case in cases if case.part == "test"}
        assert len(tested) == clips.LEAST // 3
    assert [*(tmp_path / "clips").glob("*.json")] == [tmp_path / "clips" / clips.DONE]


def test_an_interrupted_call_is_completed(tmp_path, monkeypatch):
    few, done = clips.generate(2, 0)[0][:2], []

    def power_cut(seed, clip):
        if clip == 30:
            raise KeyboardInterrupt
        return few, ""

    monkeypatch.setattr(clips, "generate", power_cut)
    with pytest.raises(KeyboardInterrupt):
        clips.write(tmp_path, clips.LEAST, 2)
    assert not (tmp_path / clips.DONE).exists()
    monkeypatch.setattr(clips, "generate", lambda *at: done.append(at) or (few, ""))
    clips.write(tmp_path, clips.LEAST, 2)
    assert done == [(2, clip) for clip in range(30, clips.LEAST)]
    with pytest.raises(UserError, match=r"'count': 36.*'count': 48"):
        clips.write(tmp_path, COUNT, 2)


def test_too_few_and_nowhere_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"35 clips .* expected 36 or more"):
        find_cases("clips", WHERE._replace(path=tmp_path, count=35))
    with pytest.raises(UserError, match=r"config\.data\.path is not set"):
        find_cases("clips", WHERE)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match=r"holds 'mine\.txt' but no clips\.json"):
        find_cases("clips", WHERE._replace(path=tmp_path))
