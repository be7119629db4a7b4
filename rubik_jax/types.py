"""The few types that every room shares: a batch, a mean kept as total and count, and a task."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jax.typing import ArrayLike
from jaxtyping import Array, PRNGKeyArray, PyTree

Batch = Mapping[str, Array]
"""Named arrays whose first axis is the example."""

Metrics = dict[str, "Mean"]

DEVICES = "device"
"""The name of the axis over which the training step is mapped."""


class Mean(NamedTuple):
    """A mean that can be added up over examples, steps, devices and hosts without bias.

    Attributes:
        total: sum of the weighted values, of any shape.
        count: sum of the weights, a scalar.
    """

    total: ArrayLike
    count: ArrayLike

    @property
    def value(self) -> ArrayLike:
        """The mean."""
        return self.total / self.count


class Task(NamedTuple):
    """What the one training loop (`train.fit`) needs to know of a problem, as plain functions.

    Attributes:
        init: key -> variables, a dict with "params" and, where the network has them, "batch_stats".
        loss: (variables, batch, keys, step) -> (loss, (batch_stats, metrics)); `keys` holds one
            key per example and `step` the step that is being trained.
        evaluate: (variables, batch, keys) -> metrics, of examples weighted by `batch["weight"]`.
        probes: like `evaluate`, on inputs that should change the answer, by name.
        summarise: totals over a whole part of the cohort -> plain numbers, in order of interest.
        show: plain numbers, of training or evaluation -> a line for people.
        score: plain numbers -> the one number that `best` goes by; larger is better.
        diagnose: plain numbers, and those of the probes by name where there are any -> sentences
            on what looks unhealthy, with what to try.
        picture: (variables, windows [b, x, y, z, c], key) -> arrays by name, some windows and what
            is made of them, for `drawing` to draw; None where cases are drawn instead.
        respond: (variables, windows [b, x, y, z, c]) -> probabilities, [b, x, y, z, k] or [b, k],
            for `inference`; None where nobody asks for predictions.
        window: the voxels along x, y, z that a step takes of a volume.
        channels: modalities of a volume.
        units: how many of what the task works on make one example, for rates, e.g. {"cubes": 8}.
        about: what else a checkpoint must tell to be understood alone (e.g. the order set).
        drawing: the name under which `report.page` finds what draws the picture.
    """

    init: Callable[[PRNGKeyArray], PyTree]
    loss: Callable[..., Any]
    evaluate: Callable[..., Metrics]
    probes: dict[str, Callable[..., Metrics]]
    summarise: Callable[[Metrics], dict[str, float]]
    score: Callable[[dict[str, float]], float]
    show: Callable[[dict[str, float]], str]
    diagnose: Callable[..., list[str]]
    picture: Callable[..., dict[str, Array]] | None
    respond: Callable[..., Array] | None
    window: tuple[int, int, int]
    channels: int
    units: dict[str, int]
    about: dict[str, Any]
    drawing: str = ""
