"""Places lie on labelled voxels, evenly by label, and are the same on every draw."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rubik_jax.data import foreground

masks = hnp.arrays(np.int16, (4, 5, 3), elements=st.sampled_from([0, 0, 0, 1, 2, 4]))


@given(masks, st.text(min_size=1, max_size=8), st.integers(1, 40))
def test_places_are_labelled_voxels_none_twice_and_labels_take_turns(labels, name, most):
    places = foreground.places(labels, name, most)
    assert places.dtype == np.int32 and len(np.unique(places, axis=0)) == len(places)
    assert len(places) == min(most, np.count_nonzero(labels))
    drawn = labels[tuple(places.T)]
    assert (drawn > 0).all()
    there = {value: np.count_nonzero(labels == value) for value in np.unique(labels[labels > 0])}
    counts = {value: np.count_nonzero(drawn == value) for value in there}
    for value, count in counts.items():  # fewer than another only where there are no more
        assert count >= min(there[value], max(counts.values()) - 1)
    np.testing.assert_array_equal(foreground.places(labels, name, most), places)


def test_another_case_draws_other_places():
    labels = np.ones((9, 9, 9), np.int16)
    one, other = (foreground.places(labels, name) for name in ("a", "b"))
    assert one.shape == (256, 3) and not np.array_equal(one, other)
    np.testing.assert_array_equal(np.ptp(one, axis=0), [8, 8, 8])
    assert (np.abs(one.mean(axis=0) - 4) < 0.6).all()


@given(masks)
def test_counts_are_of_every_label_that_occurs(labels):
    noted = foreground.note(labels, "a")
    values, counts = np.unique(labels, return_counts=True)
    assert noted["labels"] == {str(v): n for v, n in zip(values, counts.tolist(), strict=True)}
    assert noted["places"] == foreground.places(labels, "a").tolist()
