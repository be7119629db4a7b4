"""Cases read and prepared, but not kept: what they are, what is wrong, what keeping them takes."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rubik_jax.data import entries, store
from rubik_jax.data.cases import Case
from rubik_jax.data.digests import Digests, remembered
from rubik_jax.data.preprocess import Preprocessing
from rubik_jax.errors import UserError


class Looked(NamedTuple):
    """What came of a case.

    Attributes:
        name: the case's.
        facts: as `facts.describe` gives them; None where it can't be used.
        reason: why it can't be.
        kept: whether the store holds it already, so that nothing was read.
        shape: voxels along x, y, z and channels, as it is stored.
        size: bytes that it takes in the store, with its mask.
        memory: bytes that it took at once while it was prepared, about.
        seconds: that it took.
    """

    name: str
    facts: dict[str, Any] | None
    reason: str = ""
    kept: bool = False
    shape: tuple[int, ...] = ()
    size: int = 0
    memory: int = 0
    seconds: float = 0.0


def look(
    cases: Sequence[Case],
    root: str | Path,
    *,
    how: Preprocessing,
    compress: bool = False,
    workers: int = 1,
    seconds: float | None = None,
    progress: entries.Progress | None = None,
) -> list[Looked]:
    """Looks at cases, evenly spread over the cohort, for about so many seconds.

    Args:
        cases: as a source lists them.
        root: the store's folder, which nothing is written to.
        how: what would be done to each volume.
        compress: whether the store's files would be compressed.
        workers: threads.
        seconds: None to look at all, however long that takes.
        progress: wraps the results, given the number of cases, as they come in.

    Returns:
        One for each case that was looked at, sorted as the cases are.
    """
    end = None if seconds is None else time.monotonic() + seconds

    def one(i: int) -> tuple[int, Looked] | None:
        late = end is not None and time.monotonic() > end
        return None if late else (i, _look(cases[i], Path(root), how, compress, digests))

    with remembered(Path(root), keep=False) as digests:
        found = entries.in_threads(one, _spread(len(cases)), workers=workers, progress=progress)
    return [looked for _, looked in sorted(found, key=lambda each: each[0])]


def _look(case: Case, root: Path, how: Preprocessing, compress: bool, digests: Digests) -> Looked:
    begun = time.monotonic()
    try:
        entry = entries.find(case, root, how, digests, compress=compress)
        if entry:
            shape, size = tuple(entry["shape"]), store.size(entry)
            return Looked(case.name, entry["facts"], kept=True, shape=shape, size=size)
        ready = entries.ready(case, how)
    except UserError as error:
        return Looked(case.name, None, str(error))
    prepared = ready.prepared
    size = prepared.array.nbytes + (0 if prepared.labels is None else prepared.labels.nbytes)
    seconds = time.monotonic() - begun
    return Looked(
        case.name,
        ready.facts,
        shape=prepared.array.shape,
        size=size,
        memory=ready.memory,
        seconds=seconds,
    )


def _spread(count: int) -> list[int]:
    """The numbers below count, so ordered that the first few lie evenly among all."""
    bits = max(1, (count - 1).bit_length())
    turned = (int(f"{i:0{bits}b}"[::-1], 2) for i in range(2**bits))
    return [i for i in turned if i < count]
