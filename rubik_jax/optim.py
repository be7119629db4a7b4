"""Schedules and optimisers, by optax, from plain values."""

from typing import Any

import jax
import optax

from rubik_jax.errors import UserError


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
        UserError: a schedule there isn't, or a warm-up longer than the run.
    """
    if not 0 <= warmup < steps:
        raise UserError(
            f"config.optim.warmup is {warmup}; expected 0 or more and fewer than config.steps "
            f"({steps})"
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
        raise UserError(
            f"config.optim.schedule is {schedule!r}; expected one of {sorted(schedules)}"
        )
    # The first step of a warm-up is a small one, not one of size zero.
    rise = optax.linear_schedule(rate / (warmup + 1), rate, warmup)
    return optax.join_schedules([rise, schedules[schedule]()], [warmup])


def make_optimiser(
    *,
    name: str,
    weight_decay: float,
    momentum: float,
    clip: float,
    steps: int,
    **schedule: Any,
) -> optax.GradientTransformation:
    """AdamW or SGD (Nesterov) under a schedule, with clipping by global norm.

    Weight decay is decoupled in both and leaves biases and the gains of norms alone.

    Args:
        name: "adamw" or "sgd".
        weight_decay: per unit of learning rate.
        momentum: the first moment's decay (Adam's b1).
        clip: the largest global norm of the gradient; 0 for no clipping.
        steps: steps of the whole run.
        **schedule: as `make_schedule` takes.

    Raises:
        UserError: an optimiser there isn't, or a schedule that can't be.
    """
    rates = make_schedule(steps=steps, **schedule)

    def kernels(params):
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    cores = {
        "adamw": optax.scale_by_adam(b1=momentum),
        "sgd": optax.trace(decay=momentum, nesterov=True),
    }
    if name not in cores:
        raise UserError(f"config.optim.name is {name!r}; expected one of {sorted(cores)}")
    return optax.chain(
        optax.clip_by_global_norm(clip) if clip else optax.identity(),
        cores[name],
        optax.add_decayed_weights(weight_decay, mask=kernels),
        optax.scale_by_learning_rate(rates),
    )
