"""A look at a cohort is spread over it, ends in time, and keeps nothing."""

import numpy as np
import pytest

from rubik_jax.data import entries, rehearsal
from rubik_jax.data.cases import Case
from tests.preprocessing import scaled

HOW = scaled(0, 100, spacing=(2.0, 1.0, 1.0), crop="foreground")


@pytest.fixture
def cases(nifti):
    mask = nifti("mask.nii.gz", np.arange(336).reshape(6, 7, 8) % 3, dtype=np.uint8)
    return [Case(name, (nifti(f"{name}.nii.gz"),), mask) for name in "abcdef"]


def test_it_tells_what_building_keeps(cases, tmp_path):
    root = tmp_path / "store"
    looked = rehearsal.look(cases, root, how=HOW, workers=2)
    assert not root.exists()
    store, _ = entries.build(cases, root, how=HOW)
    assert [each.name for each in looked] == [*store.names]
    assert [each.shape for each in looked] == [*store.shapes]
    assert [each.facts for each in looked] == [entry["facts"] for entry in store.entries]
    assert sum(each.size for each in looked) == store.size
    assert all(each.seconds > 0 and each.memory > each.size for each in looked)
    again = rehearsal.look(cases, root, how=HOW)
    assert [each._replace(kept=False, memory=0, seconds=0) for each in again] == [
        each._replace(memory=0, seconds=0) for each in looked
    ]
    assert all(each.kept and each.seconds == 0 for each in again)


def test_what_cannot_be_used_is_told_with_its_reason(cases, tmp_path):
    cases[2].images[0].write_bytes(b"no scan")
    looked = rehearsal.look(cases, tmp_path / "store", how=HOW)
    assert [each.name for each in looked if each.facts is None] == ["c"]
    assert "c.nii.gz is of no known format" in looked[2].reason


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 100, 1000])
def test_the_first_few_lie_evenly_among_all(count):
    order = rehearsal._spread(count)
    assert sorted(order) == [*range(count)]
    for first in (4, 16, 64):
        if first <= count:
            gaps = np.diff([0, *sorted(order[:first]), count])
            assert gaps.max() <= 2 * count / first + 2


def test_a_look_that_is_out_of_time_stops(cases, tmp_path):
    seen = []
    looked = rehearsal.look(
        cases,
        tmp_path / "store",
        how=HOW,
        seconds=-1,
        progress=lambda done, total: [seen.append(each) or each for each in done],
    )
    assert looked == [] and seen == []
