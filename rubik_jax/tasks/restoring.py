"""What the games share in which a window is changed, and a U-Net has to give back what it was."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from rubik_jax import losses, metrics
from rubik_jax.augment import make_augmentation
from rubik_jax.errors import members_of
from rubik_jax.tasks import network
from rubik_jax.tasks.segment import make_network
from rubik_jax.types import Batch, Metrics, Task

DRAWN = 3  # windows


class Change(NamedTuple):
    """A window that was changed, scaled as a network takes it, and what is to be given back.

    Attributes:
        given: what the network sees.
        wanted: what it must answer.
        counted: the voxels whose answers count.
        guesses: by name, what answers without having learned anything.
    """

    given: Float[Array, "*b x y z c"]
    wanted: Float[Array, "*b x y z c"]
    counted: Bool[Array, "*b x y z"]
    guesses: dict[str, Float[Array, "*b x y z c"]]


def restoring(
    *,
    change: Callable[[PRNGKeyArray, Float[Array, "x y z c"]], Change],
    guesses: dict[str, str],
    channels: int,
    window: tuple[int, int, int],
    model: dict[str, Any],
    augmentation: dict[str, Any],
) -> Task:
    """Builds the task.

    Args:
        change: what is done to a window, of intensities in about [0, 1].
        guesses: the names of `Change.guesses`, and what they are in words.
        channels: modalities of a volume.
        window: the voxels along x, y, z that a step takes of a volume.
        model: as `config.model`.
        augmentation: as `config.augment`; of the windows that are trained on, before the change.

    Raises:
        ArgumentError: a value that can't be used.
    """
    with members_of("augmentation"):
        options = make_augmentation(**augmentation)
    with members_of("model"):
        net = make_network(channels, head="unet", width=0, **model)

    def answer(variables, windows, keys, train: bool):
        changed = jax.vmap(change)(keys, windows)
        answers, stats = network.apply(net, variables, changed.given, train)
        return changed, answers, stats

    def terms(changed: Change, answers) -> dict[str, Float[Array, "b"]]:
        given = {"loss": answers}
        given |= {f"{name}_loss": guess for name, guess in changed.guesses.items()}
        return {
            name: losses.squared_error(each, changed.wanted, changed.counted)
            for name, each in given.items()
        }

    def report(found: dict[str, Array], weight) -> Metrics:
        return {name: metrics.weighted(value, weight) for name, value in found.items()}

    def loss_of(variables, batch: Batch, keys, step):
        del step
        looks, games = jax.vmap(jax.random.split, out_axes=1)(keys)
        windows = network.augmented(looks, batch["window"], options)
        changed, answers, stats = answer(variables, windows, games, True)
        found = terms(changed, answers)
        return jnp.mean(found["loss"]), (stats, report(found, jnp.ones(keys.shape[0])))

    def evaluate(variables, batch: Batch, keys) -> Metrics:
        windows = batch["window"].astype(jnp.float32)
        changed, answers, _ = answer(variables, windows, keys, False)
        return report(terms(changed, answers), batch["weight"])

    def best_guess(numbers: dict[str, float]) -> str:
        return min(guesses, key=lambda name: numbers[f"{name}_loss"])

    def explained(numbers: dict[str, float]) -> float:
        guessed = numbers[f"{best_guess(numbers)}_loss"]
        return 1 - numbers["loss"] / guessed if guessed else 0.0  # of windows that are constant

    def summarise(totals: Metrics) -> dict[str, float]:
        numbers = metrics.means(totals)
        return {
            "explained": explained(numbers),
            **numbers,
            "examples": float(np.asarray(totals["loss"].count)),
        }

    def show(numbers: dict[str, float]) -> str:
        share, words = explained(numbers), guesses[best_guess(numbers)]
        return f"explained {share:.1%} of the squared error of {words}"

    def diagnose(numbers, probes=None) -> list[str]:
        del probes
        if numbers["explained"] > 0.02:
            return []
        name = best_guess(numbers)
        return [
            f"the answers are no better than {guesses[name]}: squared error {numbers['loss']:.3g} "
            f"beside {numbers[f'{name}_loss']:.3g}; try more config.steps, a larger "
            "config.optim.rate, or an easier game by config.proxy"
        ]

    def picture(variables, windows, key):
        windows = windows[:DRAWN].astype(jnp.float32)
        changed, answers, _ = answer(variables, windows, jax.random.split(key, len(windows)), False)
        given = changed._asdict() | {"answer": answers}
        return {name: given[name] for name in ("wanted", "given", "answer", "counted")}

    def init(key):
        return net.init(key, jnp.zeros((1, *window, channels)), False)

    return Task(
        init=init,
        loss=loss_of,
        evaluate=evaluate,
        probes={},
        summarise=summarise,
        show=show,
        score=lambda numbers: numbers["explained"],
        diagnose=diagnose,
        picture=picture,
        respond=None,
        window=tuple(window),
        channels=channels,
        units={"volumes": 1},
        about={},
        drawing="restoration",
    )
