"""Takes the twin's steps, on the fastest device that there is."""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from ml_collections import ConfigDict
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from benchmarks.contest import Contestant


class Training:
    """A network, its loss and its optimiser on the fastest device that is there.

    Args:
        network: whose parameters are trained.
        loss: of a batch, by that network.
        config: a run's, of which the optimiser and the number of steps are taken.
        dtype: "float32", or "bfloat16" by autocast.
        compiled: whether by `torch.compile`; None where there is a GPU.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[..., Tensor],
        config: ConfigDict,
        dtype: str,
        compiled: bool | None,
    ):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            # As XLA does where nothing else is asked for.
            torch.set_float32_matmul_precision("high")
            torch.backends.cudnn.benchmark = True
        network.to(self.device, memory_format=torch.channels_last_3d)
        self.parameters = list(network.parameters())
        self.compiled = on_gpu if compiled is None else compiled
        self._loss = torch.compile(loss, dynamic=False) if self.compiled else loss
        self._low = dtype == "bfloat16"
        self._clip = config.optim.clip
        self._optimiser = _optimiser(self.parameters, config.optim)
        share = partial(
            _share, warmup=config.optim.warmup, steps=config.steps, final=config.optim.final
        )
        self._rates = torch.optim.lr_scheduler.LambdaLR(self._optimiser, share)

    def step(self, *batch: Tensor) -> None:
        """Takes a step, and waits for it."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._low):
            loss = self._loss(*batch)
        self._optimiser.zero_grad()
        loss.backward()
        if self._clip:
            nn.utils.clip_grad_norm_(self.parameters, self._clip)
        self._optimiser.step()
        self._rates.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def put(self, batch: list[Tensor]) -> list[Tensor]:
        """The batch on the device."""
        return [each.to(self.device, non_blocking=True) for each in batch]


def contestant(
    train: Training, data: IterableDataset, batch: int, cubes: int, workers: int
) -> Contestant:
    """One that takes such steps on batches of the data.

    Args:
        train: takes a step.
        data: endless examples.
        batch: of them in a step.
        cubes: of a step, 0 where there are none.
        workers: processes that make examples; 0 makes them in this one.
    """
    loader = DataLoader(
        data,
        batch_size=batch,
        num_workers=workers,
        pin_memory=train.device.type == "cuda",
        # A fork of a process in which JAX has begun threads can hang.
        multiprocessing_context="spawn" if workers else None,
    )
    batches: Iterator[list[Tensor]] = (each for each in loader)
    held = train.put(next(batches))

    def close() -> None:
        batches.close()
        # What was compiled counts towards a limit, beyond which others would not be.
        torch.compiler.reset()

    return Contestant(
        name="PyTorch, compiled" if train.compiled else "PyTorch",
        parameters=sum(each.numel() for each in train.parameters),
        volumes=batch,
        cubes=cubes,
        step=lambda: train.step(*train.put(next(batches))),
        bare=lambda: train.step(*held),
        close=close,
    )


def _optimiser(parameters: list[Tensor], optim: ConfigDict) -> torch.optim.Optimizer:
    """AdamW, whose weight decay leaves biases and the gains of norms alone."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": optim.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, optim.rate, (optim.momentum, 0.999), fused=True)


def _share(step: int, *, warmup: int, steps: int, final: float) -> float:
    """Of the highest rate: a linear warm-up, then a cosine down to `final`."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = min(1.0, (step - warmup) / (steps - warmup))
    return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2
