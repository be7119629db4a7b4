"""Devices: what is mapped over them, and what is shared out, put there and read back."""

import functools
import os
import resource
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import jax_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree

from rubik_jax.errors import ArgumentError, RunError
from rubik_jax.inference import Forward, respond_to
from rubik_jax.report.progress import say
from rubik_jax.types import DEVICES

KEPT = 2**30  # bytes of compiled programs at most


def count() -> int:
    """The number of devices that share a batch."""
    return jax.local_device_count()


def on_cpu() -> bool:
    """Whether there is no accelerator."""
    return jax.default_backend() == "cpu"


def require_devices() -> None:
    """Has jax look for its devices.

    Raises:
        ArgumentError: $JAX_PLATFORMS or $JAX_PLATFORM_NAME names what this machine doesn't have.
    """
    try:
        jax.local_devices()
    except (RuntimeError, AssertionError) as error:
        names = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")
        given = next((name for name in names if os.environ.get(name)), None)
        if given is None:
            raise
        value, there = os.environ[given], " or ".join(_platforms()) or "none"
        raise ArgumentError(
            given,
            f"is {value!r}, for which jax finds no device here; expected {there}, or that the "
            "variable isn't set; a GPU or a TPU needs its own package of jax",
        ) from error


def _platforms() -> list[str]:
    """What jax would find if no platform was named; for a process that ends then."""
    names = ("jax_platforms", "jax_platform_name")
    before = {name: jax.config.values[name] for name in names}
    try:
        for name in names:
            jax.config.update(name, "")
        return sorted({device.platform for device in jax.local_devices()})
    except (RuntimeError, AssertionError):
        return []
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


@contextmanager
def keep_compiled(folder: Path, *, make: bool = True) -> Iterator[None]:
    """Keeps compiled programs in that folder, for the next process, unless they are kept already.

    $JAX_COMPILATION_CACHE_DIR names another place, and then jax's other variables count as well.
    Beyond `KEPT` bytes the programs go that were used the longest ago. A folder that can't be read
    or written does no harm; one that others can write is left alone, since what lies there is
    executed. An error within leaves no folder that wasn't there, unless the machine failed
    (RunError) and the same command goes on.

    Args:
        folder: where the programs lie.
        make: whether a folder is made where there is none; else nothing is kept.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    if jax.config.jax_compilation_cache_dir is not None or (missing and not make):
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
        if _may_keep(folder):
            jax.config.update("jax_compilation_cache_dir", str(folder.absolute()))
            # The dozens of small programs that a start compiles take longer together than the step.
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        try:
            yield
        except RunError:
            raise
        except Exception:
            for made in missing:
                with suppress(OSError):
                    shutil.rmtree(made) if made == folder else made.rmdir()
            raise


def _may_keep(folder: Path) -> bool:
    """Makes the folder and room in it; returns whether it's of this user alone."""
    with suppress(OSError):  # it can't be made or read, or another process forgets too
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.getuid() or found.st_mode & 0o022:
            say(
                f"others can write into {folder}, so compiled programs aren't kept; expected a "
                "folder of your own, and chmod go-w"
            )
            return False
        _forget(folder)
    return True


def _forget(folder: Path) -> None:
    """Deletes the programs that were used the longest ago, down to `KEPT` bytes.

    Not by jax_compilation_cache_max_size: that needs another package, and a process that is killed
    between two of its writes would keep all later ones from writing.
    """
    found = [(file, file.stat()) for file in folder.glob("*-cache")]
    left = KEPT
    for file, at in sorted(found, key=lambda each: max(each[1].st_mtime, each[1].st_atime))[::-1]:
        left -= at.st_size
        if left < 0:
            file.unlink()


def describe() -> str:
    """The devices in words, e.g. "1 x cpu"."""
    return f"{count()} x {jax.local_devices()[0].device_kind}"


def most_memory() -> dict[str, int]:
    """The most bytes that were in use so far: "process_bytes", and "device_bytes" of the fullest.

    A platform that doesn't count its devices' memory, as the CPU, leaves the latter out.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    found = {"process_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    counted = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [stats["peak_bytes_in_use"] for stats in counted if "peak_bytes_in_use" in stats]
    return found | ({"device_bytes": max(peaks)} if peaks else {})


def per_device(batch_size: int, accumulate: int) -> int:
    """Examples of a global batch on each device.

    Raises:
        ArgumentError: it can't be shared out evenly.
    """
    if batch_size < 1 or accumulate < 1 or batch_size % (count() * accumulate):
        raise ArgumentError.of(
            "{batch_size} is {}; expected a multiple of devices x {accumulate} ({} x {})",
            *(batch_size, count(), accumulate),
        )
    return batch_size // count()


def replicate(tree: PyTree) -> PyTree:
    """A copy on every device, along a new first axis."""
    return jax_utils.replicate(tree)


def unreplicate(tree: PyTree) -> PyTree:
    """The first device's copy, on the host.

    It's read where it lies: to index the array would be a computation, which waits for the calls
    that the device has been handed since.
    """
    firsts = jax.device_get(jax.tree.map(lambda x: x.addressable_shards[0].data, tree))
    return jax.tree.map(lambda x: x[0], firsts)


def ready(tree: PyTree) -> bool:
    """Whether the devices are done with arrays that they were asked for; doesn't wait."""
    return all(leaf.is_ready() for leaf in jax.tree.leaves(tree))


def spread(tree: PyTree) -> PyTree:
    """Puts row i of every array on device i; the arrays have a row per device."""
    return jax.device_put(tree, _across())


def shard(batch: PyTree, axis: int = 0) -> PyTree:
    """Splits that axis of every array over the devices, which become the first axis."""

    def split(x: np.ndarray) -> np.ndarray:
        shape = (*x.shape[:axis], count(), -1, *x.shape[axis + 1 :])
        return np.moveaxis(x.reshape(shape), axis, 0)

    return spread(jax.tree.map(split, batch))


def mapped_step(step: Callable[..., Any], *arguments: PyTree) -> Any:
    """Compiles a training step for all devices, ahead of its first call; the state is donated.

    Args:
        step: (state, batches, resident, settings) of one device.
        arguments: such arguments, with a leading axis of devices, for their shapes.

    Returns:
        What `jax.stages.Compiled` offers, to be called with such arguments.
    """
    return jax.pmap(step, axis_name=DEVICES, donate_argnums=(0,)).lower(*arguments).compile()


def mapped_evaluation(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    """Maps (variables, batch, keys) -> metrics over devices and adds the metrics up."""

    def summed(*arguments: PyTree) -> PyTree:
        return jax.lax.psum(evaluate(*arguments), DEVICES)

    return jax.pmap(summed, axis_name=DEVICES)


def mapped_response(respond: Callable[..., Any], variables: PyTree) -> Forward:
    """A network that answers windows on all devices, for `inference`.

    Args:
        respond: (variables, windows float32) -> answers, of one device.
        variables: of the network, one copy.

    Returns:
        What is also called with windows [b, ...] of the host, and gives answers [b, ...] there.
    """
    if on_cpu() and count() == 1:
        answer = functools.partial(_by_threads, _answering_one(respond), jax.device_put(variables))
    else:
        answer = functools.partial(_answering(respond), replicate(variables))
    return Forward(answer, mapped, _across())


@functools.cache
def mapped(
    function: Callable[..., Any],
    *,
    donate: tuple[int, ...] = (),
    static: tuple[int, ...] = (),
    out_axes: Any = 0,
) -> Callable[..., Any]:
    """Maps a function of one device over all; arrays have a first axis of devices.

    Args:
        function: it is compiled once for the same options and shapes, whoever asks.
        donate: numbers of the arguments whose memory the results may take.
        static: numbers of those that are compiled in.
        out_axes: None for a result that is the same on all devices, and comes once.
    """
    return jax.pmap(
        function,
        axis_name=DEVICES,
        donate_argnums=donate,
        static_broadcasted_argnums=static,
        out_axes=out_axes,
    )


@functools.lru_cache(maxsize=8)
def _answering(respond: Callable[..., Any]) -> Callable[..., Any]:
    """(variables, windows, flip) -> answers of all devices; compiled once for a network."""
    answer = functools.partial(respond_to, respond)
    return jax.pmap(answer, axis_name=DEVICES, in_axes=(0, 0, None))


@functools.lru_cache(maxsize=8)
def _answering_one(respond: Callable[..., Any]) -> Callable[..., Any]:
    """(variables, windows [1, b, ...], number, flip) -> the answer to that window, [1, ...]."""

    def answer(
        variables: PyTree, windows: Array, number: ArrayLike, flip: ArrayLike | None
    ) -> Array:
        window = jax.lax.dynamic_slice_in_dim(windows[0], number, 1)
        return respond_to(respond, variables, window, flip)

    return jax.jit(answer)


def _by_threads(
    answer: Callable[..., Any], variables: PyTree, windows: Array, flip: ArrayLike | None
) -> Array:
    """The answers to windows [1, b, ...] on a CPU, each window's in a thread; waits for them.

    Within one program cores wait at the end of each of its parts, and during those that one core
    works on. With two cores, windows of 32 voxels a side took an eighth less time than one after
    the other, and a tenth less than at once, measured in turns. So many windows are held at a time
    as there are cores.
    """

    def one(number: int) -> Array:
        return jax.block_until_ready(answer(variables, windows, number, flip))

    return _together(*_threads().map(one, range(windows.shape[1])))


@jax.jit
def _together(*answers: Array) -> Array:
    return jnp.concatenate(answers)[None]


@functools.cache
def _threads() -> ThreadPoolExecutor:
    own = getattr(os, "sched_getaffinity", None)  # fewer than there are, where a scheduler says so
    return ThreadPoolExecutor(len(own(0)) if own else os.cpu_count())


def _across() -> NamedSharding:
    """Row i of an array on device i."""
    return NamedSharding(Mesh(np.array(jax.local_devices()), (DEVICES,)), PartitionSpec(DEVICES))
