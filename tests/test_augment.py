"""Changes of windows and labels: exact where nothing changes, and against scipy where it does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from rubik_jax.augment import augment, blur, make_augmentation, resample, rotation
from rubik_jax.errors import ArgumentError
from tests.tasks.supervised import STILL as OFF

AFFINE = {"affine": 1.0, "rotate": 20.0, "scale": 0.2, "shift": 2.0}
COLOUR = {"intensity": 1.0, "gain": 0.3, "offset": 0.2, "gamma": 0.5}
ALL = {"flip": (True, True, True), **AFFINE, **COLOUR, "blur": 1.0, "noise": 0.1}
SIZE = (9, 12, 7)
STILL = jnp.zeros(3)


def window(size=SIZE, channels=2, dtype=np.float32, seed=0):
    return jnp.asarray(np.random.default_rng(seed).random((*size, channels)), dtype)


def mask(size=SIZE, dtype=np.int16, seed=0):
    values = np.array([0, 1, 2, 4], dtype)
    return jnp.asarray(np.random.default_rng(seed).choice(values, size))


def blob(size=SIZE):
    """An ellipsoid off the centre, with smooth borders, and its mask."""
    shape = np.array(size).reshape(3, 1, 1, 1)
    away = (((np.indices(size) - 0.45 * shape) / (0.3 * shape)) ** 2).sum(axis=0)
    soft = 1 / (1 + np.exp(4 * (away - 1)))
    return jnp.asarray(soft[..., None], jnp.float32), jnp.asarray(soft > 0.5)


compiled = jax.jit(augment, static_argnames="options")
resampled = jax.jit(resample)
blurred = jax.jit(blur, static_argnums=2)
GEOMETRY = {"flip": (True, True, True), **AFFINE}


def run(image, label, seed=0, **changes):
    return compiled(jax.random.key(seed), image, label, make_augmentation(**OFF | changes))


def some_affine(seed):
    rng = np.random.default_rng(seed)
    matrix = np.array(rotation(jnp.asarray(rng.uniform(-0.5, 0.5, 3), jnp.float32)))
    return matrix * rng.uniform(0.8, 1.25), rng.uniform(-2, 2, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        ALL | {"flip": (False,) * 3, "affine": 1e-9, "intensity": 1e-9, "blur": 1e-9, "noise": 0.0},
        AFFINE | {"affine": 0.0},
        COLOUR | {"intensity": 0.0},
    ],
    ids=["no knob", "not drawn", "no affine", "no intensities"],
)
def test_what_is_off_changes_no_bit(changes):
    image = window() * 3 - 1  # beyond [0, 1] too
    label = mask()
    changed, moved = run(image, label, **changes)
    np.testing.assert_array_equal(changed, image)
    np.testing.assert_array_equal(moved, label)


def test_only_the_affine_map_brings_a_gather_into_the_program():
    def program(**changes):
        options = make_augmentation(**OFF | changes)
        return str(
            jax.make_jaxpr(lambda key: augment(key, window(), mask(), options))(jax.random.key(0))
        )

    flat = COLOUR | {"flip": (True, True, True), "noise": 0.1}
    assert "gather" in program(**AFFINE)
    assert "gather" not in program(**flat)
    assert "gather" not in program(**flat, **AFFINE | {"affine": 0.0})
    assert "gather" not in program(**flat, affine=1.0)  # by nothing


@pytest.mark.parametrize("affine", [{}, AFFINE | {"affine": 1e-9}], ids=["flipped", "resampled"])
def test_flips_mirror_image_and_label_along_the_enabled_axes_alone(affine):
    image, label = np.asarray(window()), np.asarray(mask())
    seen = []
    for seed in range(16):
        changed, moved = run(image, label, seed, flip=(True, False, True), **affine)
        drawn = [
            axes
            for axes in ((), (0,), (2,), (0, 2))
            if np.array_equal(np.flip(image, axes), changed)
        ]
        assert len(drawn) == 1
        np.testing.assert_array_equal(moved, np.flip(label, drawn[0]))
        seen += drawn
    assert set(seen) == {(), (0,), (2,), (0, 2)}


@pytest.mark.parametrize("side", [6, 7])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_right_angle_is_rot90(axis, side):
    size = (side,) * 3
    image, label = window(size), mask(size)
    angles = jnp.zeros(3).at[axis].set(jnp.pi / 2)
    changed, moved = resampled(image, label, rotation(angles), STILL)
    # Result p is given at R p, so what is seen turns by R backwards.
    plane = [(2, 1), (0, 2), (1, 0)][axis]
    np.testing.assert_allclose(changed, jnp.rot90(image, axes=plane), atol=1e-5)
    np.testing.assert_array_equal(moved, jnp.rot90(label, axes=plane))


def test_rotation_is_that_of_the_angles_about_x_y_and_z():
    angles = np.array([0.3, -0.7, 1.1], np.float32)
    expected = Rotation.from_euler("XYZ", angles).as_matrix()
    np.testing.assert_allclose(rotation(jnp.asarray(angles)), expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_resampling_agrees_with_scipy(seed):
    image, label = window(), mask()
    matrix, shift = some_affine(seed)
    changed, moved = resampled(image, label, jnp.asarray(matrix), jnp.asarray(shift, jnp.float32))
    centre = (np.array(SIZE) - 1) / 2
    offset = centre + shift - matrix @ centre
    for channel in range(2):
        expected = ndimage.affine_transform(
            np.asarray(image[..., channel]), matrix, offset, order=1, mode="nearest"
        )
        np.testing.assert_allclose(changed[..., channel], expected, atol=1e-4)

    points = np.einsum("ij,jxyz->ixyz", matrix, np.indices(SIZE)) + offset[:, None, None, None]
    last = np.array(SIZE)[:, None, None, None] - 0.5
    outside = ((points < -0.5) | (points > last)).any(axis=0)
    nearest = ndimage.affine_transform(np.asarray(label), matrix, offset, order=0, mode="nearest")
    assert outside.any()
    np.testing.assert_array_equal(moved, np.where(outside, -1, nearest))


def test_a_shift_clamps_the_image_and_ignores_the_label_beyond_the_window():
    image, label = window(), mask()
    changed, moved = resampled(image, label, jnp.eye(3), jnp.array([2.0, 0.0, 0.0]))
    np.testing.assert_array_equal(changed[:-2], image[2:])
    np.testing.assert_array_equal(changed[-2:], jnp.stack([image[-1]] * 2))
    np.testing.assert_array_equal(moved[:-2], label[2:])
    assert (moved[-2:] == -1).all()
    _, nearly = resampled(image, label, jnp.eye(3), jnp.array([0.4, 0.0, 0.0]))
    np.testing.assert_array_equal(nearly, label)


@pytest.mark.parametrize("seed", range(4))
def test_the_label_moves_with_the_image_and_keeps_its_values(seed):
    image, truth = blob((16, 20, 14))
    changed, moved = run(image, truth, seed, **GEOMETRY)
    assert set(np.unique(moved)) <= {-1, 0, 1}
    assert not np.array_equal(moved, truth)
    sure = (abs(np.asarray(changed[..., 0]) - 0.5) > 0.3) & (np.asarray(moved) >= 0)
    assert sure.mean() > 0.5
    np.testing.assert_array_equal(changed[..., 0][sure] > 0.5, moved[sure] == 1)

    _, values = run(window(), mask(), seed, **GEOMETRY)
    assert set(np.unique(values)) <= {-1, 0, 1, 2, 4}


def test_what_was_ignored_stays_ignored():
    label = jnp.full(SIZE, -1, jnp.int16)
    assert (run(window(), label, **GEOMETRY)[1] == -1).all()


def test_channels_move_together_and_change_colour_alone():
    one = window(channels=1)
    both = jnp.concatenate([one, one], axis=-1)
    moved, _ = run(both, None, **GEOMETRY)
    np.testing.assert_array_equal(moved[..., 0], moved[..., 1])
    for name in ("gain", "offset", "gamma", "blur", "noise"):
        changed, label = run(both, mask(), intensity=1.0, **{name: 1.0})
        assert not np.allclose(changed[..., 0], changed[..., 1], atol=1e-3)
        np.testing.assert_array_equal(label, mask())


def test_each_channel_is_drawn_with_the_probability_of_intensity():
    image = window((2, 2, 2), channels=4000)
    changed, _ = run(image, None, **COLOUR | {"intensity": 0.25})
    assert (changed != image).any(axis=(0, 1, 2)).mean() == pytest.approx(0.25, abs=0.03)


def test_the_affine_map_is_drawn_with_its_probability():
    options = make_augmentation(**OFF | AFFINE | {"affine": 0.25})
    image = window((3, 3, 3), channels=1)
    keys = jax.random.split(jax.random.key(1), 2000)
    changed, _ = jax.jit(jax.vmap(lambda key: augment(key, image, None, options)))(keys)
    moved = (changed != image[None]).any(axis=(1, 2, 3, 4))
    assert moved.mean() == pytest.approx(0.25, abs=0.04)


def test_intensities_leave_the_label_alone_and_stay_in_their_ranges():
    image, label = jnp.full((2, 2, 2, 1000), 0.5), mask((2, 2, 2))
    for name, least, most in (
        ("gain", 0.5 / 1.25, 0.5 * 1.25),
        ("offset", 0.25, 0.75),
        ("gamma", 0.5**1.25, 0.5**0.8),
    ):
        changed, same = run(image, label, intensity=1.0, **{name: 0.25})
        np.testing.assert_array_equal(same, label)
        assert changed.min() == pytest.approx(least, rel=0.01)
        assert changed.max() == pytest.approx(most, rel=0.01)


def test_gamma_keeps_the_order_of_intensities_and_the_ends_of_their_range():
    ramp = jnp.linspace(-0.5, 1.5, 64).reshape(4, 4, 4, 1)
    for seed in range(3):
        changed = run(ramp, None, seed, intensity=1.0, gamma=1.0)[0].ravel()
        inside = (ramp.ravel() >= 0) & (ramp.ravel() <= 1)
        assert (np.diff(changed[inside]) > 0).all()
        assert (changed[ramp.ravel() <= 0] == 0).all()
        assert (changed[ramp.ravel() >= 1] == 1).all()


def test_noise_has_no_mean_and_at_most_its_deviation():
    added = np.asarray(run(jnp.full((12, 12, 12, 16), 0.5), None, noise=0.2)[0]) - 0.5
    deviations = added.std(axis=(0, 1, 2))
    assert (deviations < 0.21).all()
    assert np.ptp(deviations) > 0.05
    assert abs(added.mean()) < 0.004


def test_blur_agrees_with_scipy_channel_by_channel():
    image = window()
    sigma = np.array([0.6, 1.3], np.float32)
    found = blurred(image, jnp.asarray(sigma).reshape(1, 1, 1, 2), 3)
    for channel in range(2):
        expected = ndimage.gaussian_filter(
            np.asarray(image[..., channel]), sigma[channel], mode="nearest", radius=3
        )
        np.testing.assert_allclose(found[..., channel], expected, atol=1e-5)


def test_blur_keeps_constants_and_the_sum_of_a_point_and_at_width_0_every_bit():
    sigma = jnp.full((1, 1, 1, 1), 0.8)
    np.testing.assert_allclose(blurred(jnp.full((*SIZE, 1), 0.7), sigma, 2), 0.7, rtol=1e-6)
    point = jnp.zeros((*SIZE, 1)).at[4, 5, 3].set(1.0)
    assert blurred(point, sigma, 2).sum() == pytest.approx(1.0, rel=1e-5)
    image = window(channels=1)
    np.testing.assert_array_equal(blurred(image, 0 * sigma, 2), image)


def test_a_batch_is_changed_example_by_example():
    options = make_augmentation(**OFF | ALL)
    images = jnp.stack([window(dtype=np.float16)] * 3)
    labels = jnp.stack([mask(dtype=bool)] * 3)
    keys = jax.random.split(jax.random.key(3), 3)
    batched = jax.vmap(augment, (0, 0, 0, None))
    changed, moved = jax.jit(batched, static_argnums=3)(keys, images, labels, options)
    alone, alone_moved = compiled(keys[2], images[2], labels[2], options)
    assert not np.array_equal(changed[0], changed[1])
    assert set(np.unique(moved)) == {-1, 0, 1}
    np.testing.assert_allclose(changed[2], alone, atol=2e-3)
    assert (moved[2] != alone_moved).mean() < 0.01  # ties of rounding
    unlabelled, none = jax.eval_shape(lambda: batched(keys, images, None, options))
    assert unlabelled.shape == images.shape
    assert none is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [(bool, jnp.int8), (np.uint8, jnp.int16), (np.int16, jnp.int16), (np.int32, jnp.int32)],
)
@pytest.mark.parametrize("changes", [{}, ALL], ids=["off", "on"])
def test_a_label_keeps_its_dtype_or_one_that_holds_minus_1(given, expected, changes):
    options = make_augmentation(**OFF | changes)
    image, label = jax.eval_shape(
        lambda key: augment(key, window(dtype=np.float16), mask(dtype=given), options),
        jax.random.key(0),
    )
    assert image.dtype == jnp.float16
    assert label.dtype == expected


def test_a_key_decides_everything():
    image, label = window(), mask()
    (first, one), (again, same), (other, _) = (run(image, label, seed, **ALL) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(first, other, atol=0.01)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"flip": (True, True)}, r"flip is \(True, True\).*each of x, y, z"),
        ({"flip": (1, 0, 0)}, "flip is"),
        ({"affine": 1.5}, r"affine is 1\.5; expected 0 to 1"),
        ({"intensity": -0.1}, "intensity is -0.1"),
        ({"rotate": 270.0}, "rotate is 270.0; expected 0 to 180"),
        ({"scale": -0.5}, "scale is -0.5"),
        ({"blur": float("nan")}, "blur is nan"),
        ({"noise": float("inf")}, "noise is inf"),
    ],
)
def test_what_cannot_be_is_refused(changes, sentence):
    with pytest.raises(ArgumentError, match=r"^" + sentence):
        make_augmentation(**OFF | changes)


def test_a_list_of_a_stored_config_stands_for_the_flips():
    assert make_augmentation(**OFF | {"flip": [True, False, False]}).flip == (True, False, False)
