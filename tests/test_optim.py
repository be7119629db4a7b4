"""Learning rates at their corners, what the optimisers do to a parameter, and to an encoder."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rubik_jax.errors import ArgumentError
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
        ({"warmup": 100}, r"warmup is 100.*steps \(100\)"),
        ({"warmup": -1}, "warmup is -1"),
        ({"name": "lion"}, r"^name is 'lion'.*'adamw', 'sgd'"),
    ],
)
def test_what_cannot_be_is_refused(changes, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        make_optimiser(**OPTIMISER | SCHEDULE | changes)


ENCODER = {"rate": 1.0, "decay": 1.0, "freeze": 0}


def network():
    """Three stages, a stem below them and a head beside them; each leaf another number."""
    layers = ("stem", "stage0_conv0", "stage1_conv0", "stage1_norm0", "stage2_block1")
    encoder = {layer: {"kernel": jnp.full((2, 2), 1.0 + i)} for i, layer in enumerate(layers)}
    return {"encoder": encoder, "head": {"kernel": jnp.full((2, 2), 9.0)}}


def walk(times, optimiser):
    """The parameters before each of so many steps and after the last, down the gradient of one."""
    params = network()
    state = optimiser.init(params)
    path = [params]
    for _ in range(times):
        grads = jax.tree.map(jnp.ones_like, params)
        # Not compiled whole: XLA may round the same numbers otherwise in another program.
        updates, state = optimiser.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        path.append(params)
    return path


def moves(tree, changes=None):
    """How far plain SGD at rate 0.4 goes in its first step, as a multiple of 0.4."""
    encoder = None if changes is None else ENCODER | changes
    first, second = walk(1, make_optimiser(**OPTIMISER | SCHEDULE | FLAT, encoder=encoder))
    return jax.tree.map(lambda a, b: float((a - b)[0, 0]) / 0.4, first, second)[tree]


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_frozen_encoder_stands_still_for_exactly_so_many_steps(name):
    optimiser = make_optimiser(
        **OPTIMISER | SCHEDULE | FLAT | {"name": name, "weight_decay": 0.1, "momentum": 0.9},
        encoder=ENCODER | {"freeze": 3},
    )
    path = walk(5, optimiser)
    for part, still in (("encoder", [True, True, True, False, False]), ("head", [False] * 5)):
        for before, after, same in zip(path, path[1:], still, strict=False):
            pairs = zip(*(jax.tree.leaves(p[part]) for p in (before, after)), strict=True)
            assert {np.array_equal(a, b) for a, b in pairs} == {same}


def test_the_encoder_moves_at_its_own_rate():
    assert moves("head", {"rate": 0.1})["kernel"] == pytest.approx(1)
    slow = moves("encoder", {"rate": 0.1})
    np.testing.assert_allclose(jax.tree.leaves(slow), 0.1, rtol=1e-4)
    assert not any(jax.tree.leaves(moves("encoder", {"rate": 0.0})))


def test_each_stage_moves_by_the_decay_less_than_the_one_above():
    found = moves("encoder", {"rate": 0.5, "decay": 0.8})
    expected = {
        "stem": 0.5 * 0.8**2,  # as the stage that it feeds
        "stage0_conv0": 0.5 * 0.8**2,
        "stage1_conv0": 0.5 * 0.8,
        "stage1_norm0": 0.5 * 0.8,
        "stage2_block1": 0.5,
    }
    for layer, share in expected.items():
        assert found[layer]["kernel"] == pytest.approx(share, rel=1e-4)


def test_weight_decay_of_the_encoder_goes_by_its_rate_too():
    params = network()
    still = jax.tree.map(jnp.zeros_like, params)
    step = update(params, still, weight_decay=0.1, encoder=ENCODER | {"rate": 0.25})
    kernels = params["encoder"]["stem"]["kernel"], params["head"]["kernel"]
    np.testing.assert_allclose(step["encoder"]["stem"]["kernel"], -0.01 * kernels[0], rtol=1e-6)
    np.testing.assert_allclose(step["head"]["kernel"], -0.04 * kernels[1], rtol=1e-6)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_neutral_numbers_change_no_bit(name):
    knobs = OPTIMISER | SCHEDULE | {"name": name, "weight_decay": 0.1, "momentum": 0.9, "clip": 1.0}
    without, neutral = (
        walk(4, make_optimiser(**knobs, encoder=encoder)) for encoder in (None, ENCODER)
    )
    for one, other in zip(without, neutral, strict=True):
        assert jax.tree.all(jax.tree.map(np.array_equal, one, other))


def test_the_state_has_the_shape_of_old_runs_without_and_one_count_more_with_an_encoder():
    def shape(**encoder):
        optimiser = make_optimiser(**OPTIMISER | SCHEDULE, **encoder)
        return jax.tree.structure(optimiser.init(network()))

    trace, decay = optax.TraceState(network()), optax.MaskedState(optax.EmptyState())
    before = (optax.EmptyState(), trace, decay)
    after = (optax.ScaleByScheduleState(0),)
    assert shape() == jax.tree.structure(before + after)
    for changes in ({}, {"rate": 0.1, "decay": 0.5, "freeze": 7}):
        with_count = before + after * 2
        assert shape(encoder=ENCODER | changes) == jax.tree.structure(with_count)


def test_a_network_without_an_encoder_is_not_slowed_in_silence():
    with pytest.raises(ValueError, match=r"no 'encoder' among the parameters of \['trunk'\]"):
        update({"trunk": jnp.ones(2)}, {"trunk": jnp.ones(2)}, encoder=ENCODER)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rate": -0.1}, r"^encoder\.rate is -0\.1; expected 0 or more"),
        ({"rate": float("inf")}, r"^encoder\.rate is inf"),
        ({"decay": 0.0}, r"^encoder\.decay is 0\.0; expected more than 0"),
        ({"decay": 1.1}, r"^encoder\.decay is 1\.1"),
        ({"freeze": -1}, r"^encoder\.freeze is -1"),
        ({"freeze": 100}, r"^encoder\.freeze is 100; .* fewer than steps \(100\)"),
    ],
)
def test_shares_of_an_encoder_that_cannot_be_are_refused(changes, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        make_optimiser(**OPTIMISER | SCHEDULE, encoder=ENCODER | changes)
