"""Windows tile a volume exactly, and what is asked window by window is what the whole would say."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rubik_jax import inference
from rubik_jax.errors import ArgumentError
from tests.forwards import mapped, watched

RNG = np.random.default_rng(0)


def whole(volume, forward, **options):
    """The slabs put together, which must be contiguous and in order."""
    given_ = {"overlap": 0.5, "batch_size": 3, "classes": volume.shape[-1]} | options
    slabs = list(inference.sliding(forward, volume, **given_))
    ends = np.cumsum([0, *(len(slab) for _, slab in slabs)])
    assert [begin for begin, _ in slabs] == ends[:-1].tolist()
    return np.concatenate([slab for _, slab in slabs])


def depends_on_place(windows):
    """Each voxel's answer depends on where in the window it lies, like a network's at its rim."""
    place = jnp.arange(windows[0, ..., 0].size, dtype=jnp.float32).reshape(1, *windows.shape[1:4])
    first = jax.nn.sigmoid(windows[..., 0] * jnp.cos(place))
    return jnp.stack([first, 1 - first], axis=-1)


def plainly(volume, window, overlap, mirror):
    """What `sliding` gives of `depends_on_place`, with the whole volume's sums, in float64."""
    lack = [max(0, w - n) for w, n in zip(window, volume.shape[:3], strict=True)]
    edges = [*((n // 2, n - n // 2) for n in lack), (0, 0)]
    full = np.pad(volume, edges, mode="edge")
    sums, weights = np.zeros((*full.shape[:3], 2)), np.zeros((*full.shape[:3], 1))
    flips = [f for n in range(len(mirror) + 1) for f in itertools.combinations(mirror, n)]
    axes = zip(full.shape[:3], window, strict=True)
    for corner in itertools.product(*(inference.starts(n, w, overlap) for n, w in axes)):
        at = tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))
        for flip in flips:
            seen = np.flip(full[at], flip)[None].astype(np.float32)
            answer = np.flip(np.asarray(depends_on_place(seen))[0], flip)
            sums[at] += inference.gaussian(window)[..., None] * answer
            weights[at] += inference.gaussian(window)[..., None]
    own = zip(edges, volume.shape[:3], strict=False)
    return (sums / weights)[tuple(slice(before, before + n) for (before, _), n in own)]


@given(st.integers(1, 300), st.integers(1, 90), st.floats(0, 1, exclude_max=True))
def test_windows_tile_any_axis_exactly(size, window, overlap):
    found = inference.starts(size, window, overlap)
    if size <= window:
        assert found == (0,)
        return
    assert found[0] == 0 and found[-1] + window == size
    steps = np.diff(found)
    assert steps.min() >= 1 and np.ptp(steps) <= 1  # none twice, evenly spread
    assert window - steps.max() >= min(overlap * window, window - 1)
    covered = np.zeros(size, bool)
    for start in found:
        covered[start : start + window] = True
    assert covered.all()
    # One window fewer would not do.
    fewer = -(-(size - window) // max(1, len(found) - 2))
    assert len(found) == 2 or window - fewer < min(np.ceil(overlap * window), window - 1)


def test_windows_of_a_known_axis():
    assert inference.starts(10, 4, 0.5) == (0, 2, 4, 6)
    assert inference.starts(10, 4, 0) == (0, 3, 6)
    assert inference.starts(8, 4, 0) == (0, 4)
    for overlap in (1.0, -0.1):
        with pytest.raises(ArgumentError, match=r"^overlap is"):
            inference.starts(10, 4, overlap)


@given(st.tuples(*[st.integers(1, 12)] * 3), st.sampled_from([1 / 8, 1 / 2, 1e-3]))
def test_the_middle_counts_most_alike_on_both_sides_and_nothing_counts_nothing(window, sigma):
    weight = inference.gaussian(window, sigma)
    assert weight.shape == window and weight.dtype == np.float32
    assert weight.max() == 1 and weight.min() >= np.float32(1e-3)
    assert weight[tuple(n // 2 for n in window)] == 1
    np.testing.assert_allclose(np.flip(weight), weight, rtol=1e-6)


def test_the_bell_has_the_standard_deviation_of_nnu_net():
    weight = inference.gaussian((33, 1, 1))[:, 0, 0]
    away = np.arange(33) - 16
    deviation = np.sqrt((weight * away**2).sum() / weight.sum())
    assert deviation == pytest.approx(33 / 8, rel=0.02)


@pytest.mark.parametrize(
    ("size", "window", "overlap", "batch_size", "mirror"),
    [
        ((7, 5, 6), (4, 4, 4), 0.5, 3, ()),
        ((11, 6, 5), (4, 4, 4), 0.5, 1, ()),
        ((11, 6, 5), (4, 4, 4), 0.5, 100, ()),  # a batch of all there are
        ((12, 3, 4), (4, 4, 4), 0.75, 5, (1,)),  # a batch of several rows
        ((3, 40, 2), (4, 4, 4), 0.25, 4, (0, 2)),  # smaller than the window, and a wide section
        ((5, 4, 4), (1, 3, 2), 0.9, 7, (0, 1, 2)),  # steps of a voxel
        ((9, 7, 7), (4, 3, 5), 0.0, 2, ()),
        ((2, 1, 3), (5, 4, 6), 0.5, 2, ()),  # smaller along every axis
    ],
)
@pytest.mark.parametrize("labels", [False, True])
def test_slabs_are_means_by_weight_over_windows_and_flips(
    size, window, overlap, batch_size, mirror, labels
):
    volume = RNG.random((*size, 1)).astype(np.float16)
    expected = plainly(volume, window, overlap, mirror)
    options = {"window": window, "overlap": overlap, "batch_size": batch_size, "mirror": mirror}
    found = whole(volume, mapped(depends_on_place), classes=2, labels=labels, **options)
    if labels:
        assert found.dtype == np.uint8 and found.shape == size
        sure = np.abs(expected[..., 0] - 0.5) > 1e-5
        np.testing.assert_array_equal(found[sure], expected.argmax(-1)[sure])
    else:
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_network_that_repeats_its_input_gives_the_volume_back():
    volume = RNG.random((11, 9, 7, 3)).astype(np.float16)
    for mirror in ((), (0, 1, 2)):
        found = whole(volume, mapped(jnp.asarray), window=(4, 6, 5), mirror=mirror)
        np.testing.assert_allclose(found, volume, atol=1e-6)


def test_more_classes_than_a_byte_holds_have_numbers_too():
    def last(windows):
        return jax.nn.one_hot(jnp.full(windows.shape[:-1], 299), 300)

    found = whole(np.zeros((2, 3, 2, 1)), mapped(last), window=(2, 2, 2), classes=300, labels=True)
    assert found.dtype == np.int16
    assert (found == 299).all()


def test_every_call_has_the_same_shape_and_windows_travel_as_they_are_stored():
    dtypes, seen = set(), []

    def forward(windows):
        dtypes.add(windows.dtype)
        return windows / 9

    volume = RNG.integers(0, 9, (9, 5, 3, 2), np.uint8)
    options = {"window": (4, 4, 4), "batch_size": 5, "mirror": (1,)}
    whole(volume, watched(mapped(forward), seen), **options)
    assert {(batch.shape, batch.dtype) for batch in seen} == {((5, 4, 4, 4, 2), volume.dtype)}
    assert dtypes == {jnp.dtype(jnp.float32)}  # what the network sees
    # Four rows of two windows, which no batch ends with but the last.
    assert len(seen) == 2 * -(-4 * 2 // 5)


def test_volumes_of_almost_the_same_size_share_a_program():
    traced = []

    def forward(windows):
        traced.append(windows.shape)
        return windows

    for size in ((9, 5, 3), (12, 6, 3), (10, 30, 31)):
        whole(RNG.random((*size, 2)).astype(np.float32), mapped(forward), window=(4, 4, 4))
    assert len(traced) == 1


def test_wrong_axes_of_mirroring_and_overlaps_are_refused():
    volume = np.zeros((4, 4, 4, 1), np.float32)
    for wrong in ((3,), (0, 0), (-1,)):
        with pytest.raises(ArgumentError, match=r"^mirror is"):
            whole(volume, mapped(jnp.asarray), window=(4, 4, 4), mirror=wrong)
    with pytest.raises(ArgumentError, match=r"^overlap is"):
        whole(volume, mapped(jnp.asarray), window=(4, 4, 4), overlap=1.0)


def test_a_small_volume_is_padded_by_its_edge_on_both_sides():
    volume = np.arange(1, 4, dtype=np.float32).reshape(3, 1, 1, 1)
    seen = []
    forward = watched(mapped(jnp.asarray), seen)
    found = whole(volume, forward, window=(6, 1, 1), batch_size=1)
    assert seen[0].ravel().tolist() == [1, 1, 2, 3, 3, 3]
    np.testing.assert_allclose(found, volume)


def _on_devices():
    return sum(array.nbytes for array in jax.live_arrays())


class Counted(np.ndarray):
    """A volume that notes the bytes of every array that is taken or made of it."""

    noted: list[int] = []  # noqa: RUF012 - of one test at a time

    def __array_finalize__(self, of):
        if of is not None:
            self.noted.append(self.nbytes)


def test_a_volume_on_disk_is_streamed(tmp_path, monkeypatch):
    monkeypatch.setattr(Counted, "noted", [])
    shape, classes = (1500, 16, 16, 1), 4
    planes = np.linspace(0, 1, 1500).astype(np.float16)
    np.save(tmp_path / "v.npy", np.broadcast_to(planes[:, None, None, None], shape))
    volume = np.load(tmp_path / "v.npy", mmap_mode="r").view(Counted)
    Counted.noted.clear()

    def forward(windows):
        return jnp.repeat(windows, classes, axis=-1)

    options = {"window": (16, 16, 16), "overlap": 0.5, "batch_size": 2, "classes": classes}
    before, most, done = _on_devices(), 0, 0
    for begin, slab in inference.sliding(mapped(forward), volume, **options):
        assert begin == done
        np.testing.assert_allclose(slab[0, 0, 0], planes[begin], atol=1e-3)
        done += len(slab)
        most = max(most, _on_devices() - before)
    assert done == 1500
    sums = 16 * 32 * 32 * (classes + 1) * 4  # a window's width, the section rounded up
    assert most < 4 * sums  # with two slabs and two batches that are on their way
    assert max(Counted.noted) == 16**3 * volume.itemsize  # no more than a window at a time
    assert sum(Counted.noted) >= volume.nbytes  # and all of it was read so


def test_the_next_row_of_windows_is_asked_for_before_a_slab_is_handed_out():
    order, forward = [], mapped(depends_on_place)

    class Volume(np.ndarray):
        def __getitem__(self, where):
            order.append("read")
            return super().__getitem__(where)

    def answer(windows, flip):
        order.append("asked")
        return forward.answer(windows, flip)

    volume = RNG.random((12, 4, 4, 1)).view(Volume)
    spied = forward._replace(answer=answer)
    options = {"window": (4, 4, 4), "overlap": 0.5, "batch_size": 1, "classes": 2}
    first = next(inference.sliding(spied, volume, **options))
    # The first slab is handed out when the second one has been finished, the third row asked.
    assert order == ["read", "asked"] * 3
    assert first[0] == 0


def test_a_class_is_the_mean_over_windows_and_flips_without_the_copies_that_fill_a_batch():
    volume = RNG.random((10, 4, 4, 1)).astype(np.float32)

    def forward(windows):  # the share of the brightness that lies in the window's left half
        left = windows[:, :2].mean(axis=(1, 2, 3, 4)) / windows.mean(axis=(1, 2, 3, 4)) / 2
        return jnp.stack([left, 1 - left], axis=-1)

    options = {"window": (4, 4, 4), "overlap": 0.5}
    parts = np.concatenate([forward(volume[None, x : x + 4]) for x in (0, 2, 4, 6)])
    for batch_size in (1, 3, 8):
        found = inference.classify(mapped(forward), volume, **options, batch_size=batch_size)
        np.testing.assert_allclose(found, parts.mean(axis=0), rtol=1e-5)
    both = inference.classify(mapped(forward), volume, **options, batch_size=3, mirror=(0,))
    np.testing.assert_allclose(both, 0.5, rtol=1e-5)


def test_a_window_as_large_as_the_volume_sees_it_whole_and_once():
    volume = RNG.random((3, 4, 2, 1)).astype(np.float32)
    seen = []

    def forward(windows):
        return jnp.ones((len(windows), 3)) / 3

    watching = watched(mapped(forward), seen)
    inference.classify(watching, volume, window=(5, 4, 2), overlap=0.5, batch_size=1)
    assert [len(batch) for batch in seen] == [1]
    np.testing.assert_array_equal(seen[0][0, 1:4], volume)
