"""Features of whole volumes by an encoder: averages over voxels and windows, stage by stage."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Float32, PyTree, Shaped

from rubik_jax import inference, interrupts
from rubik_jax.data.loader import crop, padded
from rubik_jax.errors import members_of
from rubik_jax.models import make_encoder
from rubik_jax.tasks import network


def make_response(model: dict[str, Any]) -> Callable[..., Float[Array, "b f"]]:
    """(variables, windows [b, x, y, z, c]) -> each stage's averages, one stage after the other.

    A window is scaled whole, as the fine-tuned networks have it, also for an encoder that was
    pre-trained on single cubes: of adrenal shapes and two such encoders, one of them at random,
    averages of the whole window told the classes better than averages over cubes did (area under
    the curve of a linear probe 0.75 and 0.80, against 0.74 and 0.72).

    Args:
        model: `encoder`, the arguments of `models.make_encoder`, and `scaling`, "cube" where it
            has none.
    """
    with members_of("model.encoder"):
        encoder = make_encoder(**model["encoder"])
    scaling = model.get("scaling", "cube")

    def respond(variables: PyTree, windows: Shaped[Array, "b x y z c"]) -> Float[Array, "b f"]:
        stages = encoder.apply(variables, network.scaled(windows, scaling), False)
        return jnp.concatenate([x.astype(jnp.float32).mean(axis=(1, 2, 3)) for x in stages], -1)

    return respond


def encoder_of(variables: PyTree) -> dict[str, PyTree]:
    """What the encoder is applied with, of the variables of a network that it is part of."""
    return {name: tree["encoder"] for name, tree in variables.items() if "encoder" in tree}


def embed(
    forward: Callable[[np.ndarray], ArrayLike],
    volumes: Iterable[Shaped[np.ndarray, "_ _ _ _"]],
    *,
    window: inference.Size,
    batch_size: int,
) -> Float32[np.ndarray, "n f"]:
    """The features of each volume: the mean over the windows that tile it.

    Args:
        forward: windows float32 [b, x, y, z, c] -> features [b, f].
        volumes: n of any size, [x, y, z, c], of any number type, as the store holds them.
        window: voxels along x, y, z; a smaller volume is padded by its edge. Windows overlap by no
            more than it takes to fill a volume evenly.
        batch_size: windows of a call of `forward`, of one volume or of several; the last call is
            filled up.
    """
    answers = _answers(forward, _windows(volumes, window), batch_size)
    of, found = (np.concatenate(each) for each in zip(*answers, strict=True))
    sums = np.zeros((of[-1] + 1, found.shape[1]))
    np.add.at(sums, of, found)
    return (sums / np.bincount(of)[:, None]).astype(np.float32)


def by_stage(
    features: Float32[np.ndarray, "n f"], widths: Sequence[int]
) -> list[Float32[np.ndarray, "n _"]]:
    """The features of each stage, of which there are as many as `widths` says."""
    return np.split(features, np.cumsum(widths)[:-1], axis=1)


def _windows(
    volumes: Iterable[np.ndarray], window: inference.Size
) -> Iterator[tuple[int, np.ndarray]]:
    """The fewest windows that tile each volume, with the volume's number."""
    for i, volume in enumerate(volumes):
        size = volume.shape[:3]
        inside = tuple(map(min, window, size))
        corners = (inference.starts(n, w, overlap=0) for n, w in zip(size, window, strict=True))
        for place in itertools.product(*corners):
            yield i, padded(crop(volume, place, inside), window)


def _answers(
    forward: Callable[[np.ndarray], ArrayLike],
    windows: Iterator[tuple[int, np.ndarray]],
    batch_size: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batch by batch, which volume each window is of, and what is answered for it."""
    while some := list(itertools.islice(windows, batch_size)):
        interrupts.check()
        of, cut = zip(*some, strict=True)
        full = [*cut, *cut[-1:] * (batch_size - len(cut))]  # one shape, compiled once
        found = np.asarray(forward(np.stack(full).astype(np.float32)), np.float32)
        yield np.array(of), found[: len(of)]
