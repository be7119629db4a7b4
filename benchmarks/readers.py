"""The ways of keeping prepared volumes that are measured: ours, and those of other packages.

Each has one function that writes the cases of a task and one that opens what was written, for
drawing windows one at a time. Whatever a window is given as, it is copied into memory in the end.
"""

import os
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rubik_jax.data import entries, loader
from rubik_jax.data.cases import Case
from rubik_jax.data.examples import Examples
from rubik_jax.data.preprocess import Intensity, Preprocessing
from rubik_jax.data.store import Store

# The defaults of `configs/`.
HOW = Preprocessing("RAS", "none", None, Intensity("percentile", 0.5, 99.5, "foreground"))
BATCH = 8

Draw = Callable[[int, np.random.Generator], np.ndarray]
"""Case and random numbers -> a window at a random corner, contiguous."""


class Task(NamedTuple):
    """What is kept and read: cases, the size of windows, a folder for what is written, threads."""

    cases: list[Case]
    window: tuple[int, int, int]
    folder: Path
    threads: int


def build(task: Task, *, compress: bool = False) -> Store:
    """Our store of the cases, prepared where it isn't there."""
    return entries.build(
        task.cases,
        task.folder / ("compressed" if compress else "store"),
        how=HOW,
        compress=compress,
        workers=task.threads,
    ).store


def _files(task: Task) -> list[np.memmap]:
    """The store's arrays by NumPy alone, opened once: what the storage itself gives."""
    files = [task.folder / "store" / f"{e['name']}-{e['key']}.npy" for e in build(task).entries]
    return [np.load(file, mmap_mode="r") for file in files]


def _open_files(task: Task) -> Draw:
    return _cropper(_files(task), task.window)


def _open_store(task: Task, *, compress: bool = False) -> Draw:
    examples = Examples(build(task, compress=compress))

    def draw(i: int, rng: np.random.Generator) -> np.ndarray:
        return np.array(loader.draw(examples[i], task.window, rng)["window"])

    return draw


def _cropper(volumes: list, window: tuple[int, int, int]) -> Draw:
    """Copies windows [x, y, z, ...] out of arrays."""

    def draw(i: int, rng: np.random.Generator) -> np.ndarray:
        return np.array(volumes[i][_where(volumes[i].shape, window, rng)])

    return draw


def _where(shape, window: tuple[int, int, int], rng: np.random.Generator) -> tuple[slice, ...]:
    (x, y, z), (i, j, k) = shape[:3], window
    a, b, c = rng.integers(x - i + 1), rng.integers(y - j + 1), rng.integers(z - k + 1)
    return slice(a, a + i), slice(b, b + j), slice(c, c + k)


def _write_persistent(task: Task) -> None:
    dataset = persistent(task)
    for i in range(len(dataset)):
        dataset[i]


def persistent(task: Task):
    """MONAI's PersistentDataset: transforms up to the first random one are kept on disk."""
    from monai.data import PersistentDataset

    return PersistentDataset(*_monai(task), cache_dir=task.folder / "persistent")


def _open_persistent(task: Task) -> Draw:
    return _item_of(persistent(task))


def _open_cached(task: Task) -> Draw:
    from monai.data import CacheDataset

    return _item_of(CacheDataset(*_monai(task), num_workers=task.threads, progress=False))


def _item_of(dataset) -> Draw:
    def draw(i: int, rng: np.random.Generator) -> np.ndarray:
        return np.array(dataset[i]["image"])

    return draw


def _monai(task: Task) -> tuple[list[dict], object]:
    """Data and transforms as MONAI's own tutorials on brain tumours write them."""
    import torch
    from monai import transforms

    torch.set_num_threads(1)
    data = [{"image": [str(path) for path in case.images]} for case in task.cases]
    steps = [
        transforms.LoadImaged("image"),
        transforms.EnsureChannelFirstd("image"),
        transforms.Orientationd("image", axcodes="RAS"),
        transforms.ScaleIntensityRangePercentilesd(
            "image", 0.5, 99.5, 0, 1, clip=True, channel_wise=True
        ),
        transforms.RandSpatialCropd("image", task.window, random_size=False),
    ]
    return data, transforms.Compose(steps)


def _write_nnssl(task: Task) -> None:
    """As MIC-DKFZ/nnssl @ 7044864 writes them (src/nnssl/data/dataloading/dataset.py, save_case).

    Its images are z-scored float32 [c, x, y, z], here of all modalities, so that one opening gives
    them all; its block and chunk sizes are always those for patches of 160x160x160.
    """
    import blosc2

    for case, volume in zip(task.cases, build(task), strict=True):
        array = np.moveaxis(volume.astype(np.float32), -1, 0)
        mean, sd = (f(array, axis=(1, 2, 3), keepdims=True) for f in (np.mean, np.std))
        array = np.ascontiguousarray((array - mean) / sd)
        blocks, chunks = nnssl_sizes(array.shape, (160, 160, 160), array.itemsize)
        path = _new(task.folder / "nnssl" / f"{case.name}.b2nd")
        how = {"codec": blosc2.Codec.ZSTD, "clevel": 8}
        blosc2.asarray(
            array, urlpath=str(path), chunks=chunks, blocks=blocks, cparams=how, mmap_mode="w+"
        )
        path.with_suffix(".pkl").write_bytes(pickle.dumps({"name": case.name}))


def nnssl_sizes(shape, patch, itemsize) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The blocks and chunks that nnssl's `comp_blosc2_params` gives for [c, x, y, z].

    Blocks are powers of two, at most half the patch, halved along their relatively longest axis
    until four fifths of a level 1 cache of 32 KiB hold them; chunks are blocks repeated along their
    relatively shortest axis until they pass four fifths of a level 3 cache of 1.375 MiB.
    """
    channels, *image = shape
    size = itemsize * channels
    block = [2 ** ((n // 2).bit_length() - 1) for n in patch]
    while np.prod(block) * size > 0.8 * 2**15:
        axes = [a for a in range(3) if block[a] not in (1, image[a])]
        longest = max(axes, key=lambda a: (block[a] / patch[a], a))
        block[longest] = min(2 ** ((block[longest] - 1).bit_length() - 1), image[longest])
    chunk = list(block)
    while np.prod(chunk) * size < 0.8 * 1441792 and chunk != image:
        axes = [a for a in range(3) if chunk[a] != image[a]]
        shortest = min(axes, key=lambda a: (chunk[a] / block[a], a))
        chunk[shortest] = min(chunk[shortest] + block[shortest], image[shortest])
    return (channels, *block), (channels, *chunk)


def _open_nnssl(task: Task) -> Draw:
    """As its loader reads them: the file and its properties opened anew for each patch."""
    import blosc2

    blosc2.set_nthreads(1)

    def draw(i: int, rng: np.random.Generator) -> np.ndarray:
        path = task.folder / "nnssl" / f"{task.cases[i].name}.b2nd"
        array = blosc2.open(str(path), mode="r", dparams={"nthreads": 1}, mmap_mode="r")
        pickle.loads(path.with_suffix(".pkl").read_bytes())
        return array[(slice(None), *_where(array.shape[1:], task.window, rng))]

    return draw


def _write_zstd(task: Task) -> None:
    """What the compressed store keeps, by the codec that packs closer."""
    import blosc2

    for case, volume in zip(task.cases, build(task), strict=True):
        channels = volume.shape[-1]
        blosc2.asarray(
            np.ascontiguousarray(volume),
            urlpath=str(_new(task.folder / "zstd" / f"{case.name}.b2nd")),
            chunks=(*(min(64, n) for n in volume.shape[:3]), channels),
            blocks=(*(min(16, n) for n in volume.shape[:3]), channels),
            cparams={"codec": blosc2.Codec.ZSTD, "clevel": 5, "filters": [blosc2.Filter.SHUFFLE]},
        )


def _open_zstd(task: Task) -> Draw:
    import blosc2

    blosc2.set_nthreads(1)
    files = [task.folder / "zstd" / f"{case.name}.b2nd" for case in task.cases]
    how = {"dparams": {"nthreads": 1}, "mmap_mode": "r"}
    return _cropper([blosc2.open(str(file), mode="r", **how) for file in files], task.window)


def _new(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return path


class Reader(NamedTuple):
    """One way: how it writes, how it opens, and the task's folder that it keeps its files in."""

    write: Callable[[Task], None] | None
    open: Callable[[Task], Draw]
    folder: str | None


FILES, STORE, COMPRESSED = "the store's files by NumPy", "the store", "the store, compressed"
PERSISTENT, CACHED = "MONAI PersistentDataset", "MONAI CacheDataset, in memory"
READERS = {
    FILES: Reader(None, _open_files, "store"),
    STORE: Reader(None, _open_store, "store"),
    COMPRESSED: Reader(None, partial(_open_store, compress=True), "compressed"),
    "the same by Zstd, held open": Reader(_write_zstd, _open_zstd, "zstd"),
    PERSISTENT: Reader(_write_persistent, _open_persistent, "persistent"),
    CACHED: Reader(None, _open_cached, None),
    "nnssl's blosc2 files": Reader(_write_nnssl, _open_nnssl, "nnssl"),
}


def bare_batches(task: Task) -> Iterator[np.ndarray]:
    """Endless batches stacked from windows of the files, one after the other."""
    volumes, rng = _files(task), np.random.default_rng(0)
    while True:
        drawn = [volumes[i] for i in rng.integers(len(volumes), size=BATCH)]
        yield np.stack([volume[_where(volume.shape, task.window, rng)] for volume in drawn])


def our_batches(task: Task, *, compress: bool = False) -> Iterator[dict]:
    """Endless batches of ours, by threads."""
    examples = Examples(build(task, compress=compress))
    how = {"batch_size": BATCH, "seed": 0, "threads": task.threads}
    return loader.training_batches(examples, window=task.window, **how)


def monai_batches(task: Task) -> Iterator[dict]:
    """Endless batches of PersistentDataset by MONAI's DataLoader, by as many processes."""
    from monai.data import DataLoader
    from torch.utils.data import RandomSampler

    dataset = persistent(task)
    sampler = RandomSampler(dataset, replacement=True, num_samples=2**30)
    how = {"num_workers": task.threads, "multiprocessing_context": "spawn"}
    return iter(DataLoader(dataset, batch_size=BATCH, sampler=sampler, **how))


def drop(task: Task, name: str) -> None:
    """Asks the kernel to forget what it holds of a reader's files in memory."""
    for path in (task.folder / READERS[name].folder).iterdir():
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)
