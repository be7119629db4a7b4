"""Learning rates at their corners, and what the optimisers do to a parameter."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rubik_jax.errors import UserError
from rubik_jax.optim import make_optimiser, make_schedule

SCHEDULE = {
    "schedule": "cosine",
    "rate": 0.4,
    "warmup": 4,
    "final": 0.1,
    "drops": (0.5, 0.75),
    "drop_factor": 0.1,
}
OPTIMISER = {"name": "sgd", "weight_decay": 0.0, "momentum": 0.0, "clip": 0.0, "steps": 100}
FLAT = {"schedule": "constant", "warmup": 0}


def rates(steps=100, **changes):
    schedule = make_schedule(steps=steps, **SCHEDULE | changes)
    return np.array([schedule(step) for step in range(steps + 1)])


def update(params, grads, times=1, **changes):
    """The last of so many updates by the same gradients."""
    optimiser = make_optimiser(**OPTIMISER | SCHEDULE | FLAT | changes)
    state = optimiser.init(params)
    for _ in range(times):
        step, state = optimiser.update(grads, state, params)
    return step


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_warm_up_rises_in_equal_steps_from_the_first(schedule):
    np.testing.assert_allclose(
        rates(schedule=schedule)[:5], [0.08, 0.16, 0.24, 0.32, 0.4], rtol=1e-5
    )
    assert rates(schedule=schedule, warmup=0)[0] == pytest.approx(0.4)


def test_cosine_falls_to_its_final_share_at_the_end():
    found = rates()
    assert found[100] == pytest.approx(0.04)
    assert found[52] == pytest.approx((0.4 + 0.04) / 2)  # half way from 4 to 100
    assert (np.diff(found[4:]) < 0).all()


def test_steps_drop_at_their_shares_of_the_run():
    found = rates(schedule="step")
    np.testing.assert_allclose(found[[49, 50, 74, 75, 100]], [0.4, 0.04, 0.04, 0.004, 0.004])
    assert (rates(schedule="constant")[4:] == np.float32(0.4)).all()


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_decay_shrinks_kernels_and_leaves_biases_and_gains_alone(name):
    params = {"kernel": jnp.full((2, 3), 5.0), "bias": jnp.full(3, 5.0), "scale": jnp.ones(3)}
    still = {key: jnp.zeros_like(value) for key, value in params.items()}
    step = update(params, still, name=name, weight_decay=0.1)
    np.testing.assert_allclose(step["kernel"], -0.4 * 0.1 * params["kernel"], rtol=1e-6)
    assert not step["bias"].any()
    assert not step["scale"].any()


def test_clipping_bounds_the_norm_of_all_gradients_together():
    grads = {"a": jnp.full((2, 2), 3.0), "b": jnp.full(7, 4.0)}
    for clip, expected in ((1.0, 1.0), (0.0, optax.global_norm(grads)), (99.0, None)):
        norm = optax.global_norm(update(grads, grads, clip=clip)) / 0.4
        assert norm == pytest.approx(optax.global_norm(grads) if expected is None else expected)


def test_sgd_gathers_nesterov_momentum():
    one = {"x": jnp.ones((1, 1))}
    # Twice the same gradient: velocity 1, then 1.9; and a look ahead of 0.9 of it.
    assert update(one, one, momentum=0.9)["x"] == pytest.approx(-0.4 * 1.9)
    assert update(one, one, times=2, momentum=0.9)["x"] == pytest.approx(-0.4 * (1 + 0.9 * 1.9))


def test_adamw_steps_by_the_rate_whatever_the_gradient_s_size():
    params = {"x": jnp.ones((1, 2))}
    step = update(params, {"x": jnp.array([[1e-3, -50.0]])}, name="adamw", momentum=0.9)
    np.testing.assert_allclose(step["x"], [[-0.4, 0.4]], rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"schedule": "linear"}, r"schedule is 'linear'.*'constant', 'cosine', 'step'"),
        ({"warmup": 100}, r"warmup is 100.*config\.steps \(100\)"),
        ({"warmup": -1}, "warmup is -1"),
        ({"name": "lion"}, r"optim\.name is 'lion'.*'adamw', 'sgd'"),
    ],
)
def test_what_cannot_be_is_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        make_optimiser(**OPTIMISER | SCHEDULE | changes)
