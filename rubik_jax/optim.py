"""Schedules and optimisers, by optax, from plain values; how much of it reaches the encoder."""

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import PyTree

from rubik_jax.errors import ArgumentError, members_of


def make_schedule(
    *,
    schedule: str,
    rate: float,
    warmup: int,
    steps: int,
    final: float,
    drops: tuple[float, ...],
    drop_factor: float,
) -> optax.Schedule:
    """The learning rate of each step: a linear warm-up, then the schedule of that name.

    Args:
        schedule: "cosine" (down to `final` of the rate), "step" (times `drop_factor` at each of
            `drops`) or "constant".
        rate: the peak.
        warmup: steps of the warm-up.
        steps: steps of the whole run.
        final: share of the peak at the end of "cosine".
        drops: when "step" drops, as shares of the run.
        drop_factor: by how much.

    Raises:
        ArgumentError: a schedule there isn't, or a warm-up longer than the run.
    """
    if not 0 <= warmup < steps:
        raise ArgumentError.of(
            "{warmup} is {}; expected 0 or more and fewer than {steps} ({})", warmup, steps
        )
    rest = steps - warmup
    schedules = {
        "cosine": lambda: optax.cosine_decay_schedule(rate, rest, alpha=final),
        "step": lambda: optax.piecewise_constant_schedule(
            rate, {int(share * steps) - warmup: drop_factor for share in drops}
        ),
        "constant": lambda: optax.constant_schedule(rate),
    }
    if schedule not in schedules:
        raise ArgumentError("schedule", f"is {schedule!r}; expected one of {sorted(schedules)}")
    # The first step of a warm-up is a small one, not one of size zero.
    rise = optax.linear_schedule(rate / (warmup + 1), rate, warmup)
    return optax.join_schedules([rise, schedules[schedule]()], [warmup])


class Optimiser(NamedTuple):
    """An optimiser as optax has them, whose numbers may be arguments of a compiled step.

    Attributes:
        init: parameters -> state.
        update: (gradients, state, parameters, numbers) -> (updates, state); without numbers it
            goes by its own.
        numbers: the learning rate of every step, weight decay and the like; runs that differ in
            nothing else share a program.
    """

    init: Callable[..., PyTree]
    update: Callable[..., tuple[PyTree, PyTree]]
    numbers: dict[str, PyTree]


def make_optimiser(
    *,
    name: str,
    weight_decay: float,
    momentum: float,
    clip: float,
    steps: int,
    encoder: dict[str, float] | None = None,
    **schedule: Any,
) -> Optimiser:
    """AdamW or SGD (Nesterov) under a schedule, with clipping by global norm.

    Weight decay is decoupled in both and leaves biases and the gains of norms alone. Whether
    there is an `encoder` decides on the shape of the optimiser's state; its numbers don't.

    Args:
        name: "adamw" or "sgd".
        weight_decay: per unit of learning rate.
        momentum: the first moment's decay (Adam's b1).
        clip: the largest global norm of the gradient; 0 for no clipping.
        steps: steps of the whole run.
        encoder: "rate", "decay" and "freeze" as `scale_encoder` takes; None where the encoder
            moves as all else does.
        **schedule: as `make_schedule` takes.

    Raises:
        ArgumentError: an optimiser there isn't, or a schedule or an encoder's share that can't be.
    """
    rates = make_schedule(steps=steps, **schedule)
    cores = {
        "adamw": lambda momentum: optax.scale_by_adam(b1=momentum),
        "sgd": lambda momentum: optax.trace(decay=momentum, nesterov=True),
    }
    if name not in cores:
        raise ArgumentError("name", f"is {name!r}; expected one of {sorted(cores)}")
    if encoder is not None:
        with members_of("encoder", steps="steps"):
            check_encoder(**encoder, steps=steps)
    numbers = {
        "rates": np.asarray(jax.vmap(rates)(jnp.arange(steps)), np.float32),
        "weight_decay": np.float32(weight_decay),
        "momentum": np.float32(momentum),
        "clip": np.float32(clip),
        "encoder": None if encoder is None else jax.tree.map(np.float32, dict(encoder)),
    }

    def kernels(params):
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    def build(numbers: dict[str, PyTree]) -> optax.GradientTransformation:
        shares = numbers["encoder"]
        return optax.chain(
            optax.clip_by_global_norm(numbers["clip"]) if clip else optax.identity(),
            cores[name](numbers["momentum"]),
            optax.add_decayed_weights(numbers["weight_decay"], mask=kernels),
            *([] if shares is None else [scale_encoder(**shares)]),
            optax.scale_by_learning_rate(lambda count: numbers["rates"][count]),
        )

    def update(grads, state, params=None, numbers=numbers):
        return build(jax.tree.map(jnp.asarray, numbers)).update(grads, state, params)

    return Optimiser(build(numbers).init, update, numbers)


def check_encoder(*, rate: float, decay: float, freeze: int, steps: int) -> None:
    """Refuses what `scale_encoder` can't take.

    Args:
        rate, decay, freeze: as there.
        steps: of the whole run.

    Raises:
        ArgumentError: numbers beyond their range.
    """
    if not 0 <= rate < math.inf:
        raise ArgumentError("rate", f"is {rate}; expected 0 or more")
    if not 0 < decay <= 1:
        raise ArgumentError(
            "decay", f"is {decay}; expected more than 0 and at most 1, which is none"
        )
    if not 0 <= freeze < steps:
        raise ArgumentError.of(
            "{freeze} is {}; expected 0 or more and fewer than {steps} ({}); {rate}=0 freezes for "
            "the whole run",
            *(freeze, steps),
        )


def scale_encoder(
    *, rate: ArrayLike, decay: ArrayLike, freeze: ArrayLike
) -> optax.GradientTransformation:
    """Multiplies the updates of what's under "encoder", weight decay included, by its share.

    While the encoder is frozen its gradients still are taken, clipped with the rest and gathered
    in the moments, which so are warm once it moves. Batch statistics are no parameters: they
    follow the data from the first step.

    Args:
        rate: the encoder's learning rate, as a multiple of that of all else; 0 holds it for good.
        decay: by how much less each stage moves than the one above, as in layer-wise decay
            (Clark et al., 2020, ELECTRA; Bao et al., 2022, BEiT): see `encoder_shares`.
        freeze: steps during which the encoder stands still.

    Raises:
        ValueError: of `init`, where the parameters have no "encoder".
    """

    def init(params: PyTree) -> optax.ScaleByScheduleState:
        if "encoder" not in params:
            raise ValueError(f"no 'encoder' among the parameters of {sorted(params)}")
        return optax.ScaleByScheduleState(count=jnp.zeros((), jnp.int32))

    def update(updates, state, params=None):
        del params

        def scale(update, share):
            return jnp.where(state.count >= freeze, update * share, jnp.zeros_like(update))

        shares = encoder_shares(updates["encoder"], rate=rate, decay=decay)
        scaled = updates | {"encoder": jax.tree.map(scale, updates["encoder"], shares)}
        return scaled, optax.ScaleByScheduleState(optax.safe_increment(state.count))

    return optax.GradientTransformation(init, update)


def encoder_shares(
    encoder: dict[str, PyTree], *, rate: ArrayLike, decay: ArrayLike
) -> dict[str, PyTree]:
    """What each parameter of an encoder moves by: rate * decay ** (S - 1 - s) in stage s of S.

    So the deepest stage, whose features are the most particular to the game, moves most. What
    feeds the first stage, a ResNet's stem, moves as that stage does.

    Args:
        encoder: parameters by layer; a layer of stage s is called "stage{s}_...".
        rate: of the deepest stage.
        decay: from a stage to the one below.

    Returns:
        A number for each parameter.
    """
    found = {layer: re.match(r"stage(\d+)_", layer) for layer in encoder}
    stages = {layer: int(match[1]) if match else 0 for layer, match in found.items()}
    deepest = max(stages.values())
    shares = {layer: rate * decay ** (deepest - stage) for layer, stage in stages.items()}
    return {
        layer: jax.tree.map(lambda _: shares[layer], part)  # noqa: B023
        for layer, part in encoder.items()
    }
