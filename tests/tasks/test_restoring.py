"""Games in which a window is given back: what the network sees, what counts, what is reported."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rubik_jax import losses, metrics
from rubik_jax.errors import ArgumentError
from rubik_jax.tasks.network import scaled
from rubik_jax.tasks.reconstruct import blank, reconstruct
from rubik_jax.tasks.restore import restore
from tests.tasks.supervised import ENCODER, STILL, keys, variables

WINDOW = (8, 6, 5)
GAMES = {
    reconstruct: {"block": (2, 3, 2), "ratio": 0.5},
    restore: {"nonlinear": 0.9, "shuffle": 0.5, "box": (2, 2, 2), "paint": 0.9, "inpaint": 0.2},
}
both = pytest.mark.parametrize("game", GAMES)


def make(game, augmentation=None, **changes):
    task = game(
        channels=2,
        window=WINDOW,
        proxy_options=GAMES[game] | changes,
        model={"encoder": ENCODER, "convs": 1},
        augmentation=STILL | (augmentation or {}),
    )
    names = ("loss", "evaluate", "picture")
    return task._replace(**{name: jax.jit(getattr(task, name)) for name in names})


def batch(count=3):
    windows = np.random.default_rng(1).random((count, *WINDOW, 2))
    return {"window": jnp.asarray(windows, jnp.float16), "weight": jnp.ones(count)}


def test_a_blanked_voxel_is_zero_and_tells_nothing_of_what_was_there():
    task = make(reconstruct)
    held, window = variables(task), batch(1)["window"]
    seen = task.picture(held, window, jax.random.key(0))
    blanked = np.asarray(seen["counted"][0])
    assert blanked.mean() == pytest.approx(0.5, abs=0.1)
    assert (seen["given"][0][blanked] == 0).all()
    # The two are scaled in kernels of their own, which may round each in its way.
    left, wanted = (seen[name][0][~blanked] for name in ("given", "wanted"))
    np.testing.assert_allclose(left, wanted, atol=1e-6)
    # The scaling sees all voxels: moved among themselves, the blanked ones leave it as it was.
    other = np.array(window)
    other[0, blanked] = other[0, blanked][::-1]
    again = task.picture(held, jnp.asarray(other), jax.random.key(0))
    np.testing.assert_allclose(again["given"], seen["given"], atol=1e-5)
    np.testing.assert_allclose(again["answer"], seen["answer"], atol=1e-5)
    assert np.abs(again["wanted"] - seen["wanted"]).max() > 0.1


def test_the_guess_is_the_mean_that_what_is_visible_tells():
    wanted = scaled(jax.random.normal(jax.random.key(0), (1, *WINDOW, 2)), "cube")[0]
    blanked = jax.random.bernoulli(jax.random.key(1), 0.6, WINDOW)
    found = blank(wanted, blanked)
    mean = np.asarray(wanted)[np.asarray(blanked)].mean(axis=0)
    np.testing.assert_allclose(
        found.guesses["mean"], np.broadcast_to(mean, wanted.shape), atol=1e-5
    )
    # No other answer that is the same everywhere comes as near, not even what was given.
    error = losses.squared_error(found.guesses["mean"][None], wanted[None], blanked[None])
    handed_on = losses.squared_error(found.given[None], wanted[None], blanked[None])
    assert error < handed_on


def test_of_constant_windows_nothing_is_explained():
    task, given = make(reconstruct), batch()
    empty = given | {"window": jnp.zeros_like(given["window"])}
    numbers = task.summarise(task.evaluate(variables(task), empty, keys(3)))
    assert numbers["mean_loss"] == 0 and numbers["explained"] == 0
    assert task.diagnose(numbers) and "0.0%" in task.show(numbers)


@both
def test_the_loss_is_the_error_of_the_voxels_that_count(game):
    task, given = make(game), batch()
    held = variables(task)
    found = task.evaluate(held, given, keys(3))
    loss, (_, trained) = task.loss(held, given, keys(3), 0)
    np.testing.assert_allclose(loss, trained["loss"].value, rtol=1e-5)
    numbers = task.summarise(found)
    guesses = [numbers[key] for key in ("mean_loss", "input_loss") if key in numbers]
    assert len(guesses) == (2 if game is restore else 1)
    assert numbers["explained"] == pytest.approx(1 - numbers["loss"] / min(guesses))
    assert task.score(numbers) == numbers["explained"]
    # The picture's key is split into those of its windows, as `keys` are.
    seen = task.picture(held, given["window"], jax.random.key(0))
    errors = np.square(np.asarray(seen["answer"] - seen["wanted"])).mean(axis=-1)
    counted = np.asarray(seen["counted"])
    wanted = np.mean([e[c].mean() for e, c in zip(errors, counted, strict=True)])
    np.testing.assert_allclose(numbers["loss"], wanted, rtol=1e-5)
    np.testing.assert_allclose(seen["wanted"], scaled(given["window"], "cube"), atol=1e-6)
    if game is restore:
        assert counted.all()
        wanted = np.square(seen["given"] - seen["wanted"]).mean()
        np.testing.assert_allclose(numbers["input_loss"], wanted, rtol=1e-5)
        np.testing.assert_allclose(
            numbers["mean_loss"], np.square(seen["wanted"]).mean(), rtol=1e-4
        )


@both
def test_fillers_weigh_nothing_and_parts_add_up(game):
    task, given = make(game), batch(4)
    held, each = variables(task), keys(4)
    whole = task.evaluate(held, {name: x[:3] for name, x in given.items()}, each[:3])
    weighted = given | {"weight": jnp.array([1.0, 1.0, 1.0, 0.0])}
    one, other = (
        task.evaluate(held, {name: x[part] for name, x in weighted.items()}, each[part])
        for part in (slice(2), slice(2, 4))
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), whole, metrics.add(one, other)
    )


@both
def test_a_game_differs_with_its_key_and_the_window_is_augmented_first(game):
    task, given = make(game), batch()
    held = variables(task)
    first = task.loss(held, given, keys(3), 0)[0]
    assert first == task.loss(held, given, keys(3), 7)[0]
    assert first != task.loss(held, given, keys(3)[::-1], 0)[0]
    noisy = make(game, {"noise": 0.5})
    assert first != noisy.loss(held, given, keys(3), 0)[0]


@both
def test_one_step_down_the_gradient_lowers_the_loss(game):
    task, given = make(game), batch()
    held = variables(task)
    slope = jax.jit(jax.grad(lambda v: task.loss(v, given, keys(3), 0)[0]))(held)
    assert all((leaf != 0).any() for leaf in jax.tree.leaves(slope))
    after = optax.apply_updates(held, jax.tree.map(lambda g: -1e-3 * g, slope))
    assert task.loss(after, given, keys(3), 0)[0] < task.loss(held, given, keys(3), 0)[0]


@both
def test_an_answer_no_better_than_the_guess_is_named(game):
    task = make(game)
    guesses = {"mean_loss": 1.0, **({"input_loss": 2.0} if game is restore else {})}
    said = task.diagnose({"explained": -0.5, "loss": 1.5, **guesses})
    assert len(said) == 1 and "no better than the" in said[0] and "1.5 beside 1;" in said[0]
    assert not task.diagnose({"explained": 0.5, "loss": 0.5, **guesses})
    assert task.show({"loss": 0.25, **guesses}).startswith("explained 75.0% of the squared")


@pytest.mark.parametrize(
    ("game", "changes", "sentence"),
    [
        (reconstruct, {"block": (9, 2, 2)}, "^proxy_options.block is"),
        (reconstruct, {"ratio": 1.0}, "^proxy_options.ratio is 1.0"),
        (restore, {"box": (2, 7, 2)}, "^proxy_options.box is"),
        (restore, {"nonlinear": 0.0, "shuffle": 0.0, "paint": 0.0}, "nothing to restore"),
    ],
)
def test_a_game_that_cannot_be_is_refused(game, changes, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        make(game, **changes)
