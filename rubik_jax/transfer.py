"""Weights of one network into another, strict on both sides: whatever doesn't fit is named."""

import math
import re
from collections import Counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from rubik_jax.errors import ArgumentError
from rubik_jax.report.estimate import number

STATUSES = ("loaded", "adapted", "new", "differs", "unused")
CHANNELS = ("adapt", "refuse")
# The first convolution of a VGG and of a ResNet: the only kernels that see a volume's channels.
STEMS = ("encoder/stage0_conv0/kernel", "encoder/stem/kernel")

Shape = tuple[int, ...]
Variables = dict[str, PyTree]
Path = tuple[str, ...]  # e.g. ("params", "encoder", "stem", "kernel")
Leaves = dict[Path, Array | np.ndarray]


class Row(NamedTuple):
    """What became of one array.

    Attributes:
        name: its path; that of a running average begins with "batch_stats/".
        status: "loaded", "adapted" (to other channels), "new" (as it was initialised), "differs"
            (new, for the source's has another shape) or "unused" (the source's).
        source: its shape in the source, None where it isn't there.
        target: its shape in the target, None where it isn't there.
        norm: L2 norm of what the target now holds; of the source's where it's unused.
        note: what was done to it, e.g. "1 -> 4 channels".
    """

    name: str
    status: str
    source: Shape | None
    target: Shape | None
    norm: float
    note: str = ""


def transfer(
    target: Variables,
    source: Variables,
    *,
    parts: tuple[str, ...],
    channels: str,
    partial: tuple[str, ...],
    unused: tuple[str, ...],
) -> tuple[Variables, list[Row]]:
    """Puts the source's weights into the target, or says in one sentence why they don't fit.

    Within `parts` each array of the target must be in the source by the same name and shape, and
    each of the source in the target. What lies outside, such as a head, stays as it was
    initialised.

    Args:
        target: variables as a network's `init` returns them: "params" and maybe "batch_stats".
        source: the same of the other network; other entries, such as "opt_state", are passed over.
        parts: what is transferred, by its name right under "params"; as a rule ("encoder",).
        channels: whether the first convolution may take another number of channels: "adapt" (as
            the function of that name does) or "refuse".
        partial: beginnings of names in a part of the target that may stay new: ("stage3_conv0",).
        unused: beginnings of names in a part of the source that the target may lack.

    Returns:
        The target with the source's values, in the target's own types; and a row for each array,
        the target's first.

    Raises:
        ArgumentError: a part or an array missing on either side, another shape or type, kernels of
            zeros alone, numbers that aren't finite, or a beginning that no name has. Where the two
            encoders differ, it names arguments of `models.make_encoder`, as "encoder.widths".
    """
    if channels not in CHANNELS:
        raise ArgumentError("channels", f"is {channels!r}; expected one of {list(CHANNELS)}")
    ours, theirs = _leaves(target), _leaves(source)
    _check_parts(parts, ours, theirs)
    inner, outer = ({p: x for p, x in each.items() if p[1] in parts} for each in (ours, theirs))
    _check_beginnings("partial", partial, inner)
    _check_beginnings("unused", unused, outer)
    status = {path: _compare(path, leaf, outer.get(path)) for path, leaf in inner.items()}
    _check_fit(status, inner, outer, channels, partial, unused)

    values = {
        path: _take(path, outer[path], inner[path])
        for path, how in status.items()
        if how in ("loaded", "adapted")
    }
    if not any(_norm(value) for path, value in values.items() if path[-1] == "kernel"):
        raise ArgumentError.of(
            "no kernel of {} that was found in {source} holds anything but zeros; expected trained "
            "weights, and {partial} to leave some to load",
            parts,
        )
    rows = [
        Row(
            _name(path),
            status.get(path, "new"),
            outer[path].shape if path in outer else None,
            leaf.shape,
            _norm(values.get(path, leaf)),
            _note(outer[path], leaf) if path in values else "",
        )
        for path, leaf in ours.items()
    ]
    rows += [
        Row(_name(path), "unused", leaf.shape, None, _norm(leaf))
        for path, leaf in theirs.items()
        if path not in inner
    ]
    loaded = jax.tree_util.tree_map_with_path(lambda p, x: values.get(_keys(p), x), target)
    return loaded, rows


def adapt(kernel: Float[np.ndarray, "i j k c f"], channels: int) -> Float[np.ndarray, "i j k m f"]:
    """A kernel for another number of channels: its sum over the channels, in equal shares.

    1 -> N repeats a kernel divided by N, N -> 1 adds its channels up, N -> M does both. So where
    all channels show the same, activations are what they were, for any N and M; where they differ,
    they are those of the channels' mean. Dividing by the root of N would keep the variance over
    independent channels instead, but modalities show one anatomy, and would come out louder.
    """
    share = kernel.sum(axis=3, keepdims=True) / channels
    return np.repeat(share, channels, axis=3)


def table(rows: list[Row], limit: int | None = None) -> str:
    """The rows as aligned text, then a line that counts arrays, and their elements, by status.

    Args:
        rows: what `transfer` returns.
        limit: how many rows to write out; None for all.
    """
    cells = [("status", "name", "source", "target", "norm", "")]
    cells += [
        (row.status, row.name, _size(row.source), _size(row.target), f"{row.norm:.4g}", row.note)
        for row in rows[:limit]
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    hidden = len(rows) - len(rows[:limit])
    return "\n".join([*lines, *([f"and {hidden} more"] if hidden else []), _counts(rows)])


def summary(rows: list[Row]) -> str:
    """The rows of the encoder that aren't loaded as they were, and the counts of all."""
    odd = [row for row in rows if row.name.startswith("encoder/") and row.status != "loaded"]
    return "\n".join([*(table(odd).splitlines()[:-1] if odd else []), _counts(rows)])


def _counts(rows: list[Row]) -> str:
    """E.g. "encoder: 14 loaded (83.2 k), 1 adapted (432); head: 2 new (66)"."""
    arrays, elements = Counter(), Counter()
    for row in sorted(rows, key=lambda row: STATUSES.index(row.status)):
        group = row.name.partition("/")[0], row.status
        arrays[group] += 1
        elements[group] += math.prod(row.source if row.target is None else row.target)
    lines: dict[str, list[str]] = {}
    for (part, status), count in arrays.items():
        said = f"{count} {status} ({number(elements[part, status]).strip()})"
        lines.setdefault(part, []).append(said)
    return "; ".join(f"{part}: {', '.join(said)}" for part, said in lines.items())


def _leaves(variables: dict[str, Any]) -> Leaves:
    trees = {name: variables.get(name) or {} for name in ("params", "batch_stats")}
    return {_keys(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(trees)}


def _keys(path: tuple) -> Path:
    return tuple(str(entry.key) for entry in path)


def _name(path: Path) -> str:
    return "/".join(path[1:] if path[0] == "params" else path)


def _size(shape: Shape | None) -> str:
    return "-" if shape is None else "x".join(map(str, shape)) or "1"


def _norm(leaf: Array | np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(leaf, np.float64)))


def _note(other, mine) -> str:
    said = []
    if other.shape != mine.shape:
        said.append(f"{other.shape[3]} -> {mine.shape[3]} channels")
    if other.dtype != mine.dtype:
        said.append(f"{other.dtype} -> {mine.dtype}")
    return ", ".join(said)


def _compare(path: Path, mine, other) -> str:
    if other is None:
        return "new"
    if other.shape == mine.shape:
        return "loaded"
    stem = _name(path) in STEMS and mine.ndim == other.ndim
    rest, others = (leaf.shape[:3] + leaf.shape[4:] for leaf in (mine, other))
    return "adapted" if stem and rest == others else "differs"


def _take(path: Path, other, mine) -> Array:
    """The source's array with the target's type and, for a stem, its channels."""
    floating = all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in (other, mine))
    if other.dtype != mine.dtype and not floating:
        raise ArgumentError.of(
            "{} is {} in the network and {} in {source}; expected equal types, or floating point "
            "on both sides",
            *(_name(path), mine.dtype, other.dtype),
        )
    value = np.asarray(other)
    if other.shape != mine.shape:
        value = adapt(value.astype(np.float32), mine.shape[3])
    value = jnp.asarray(value, mine.dtype)
    if not np.isfinite(np.asarray(value, np.float32)).all():
        raise ArgumentError.of(
            "{} of {source} holds NaN or infinity; expected finite numbers, from a run that did "
            "not diverge",
            _name(path),
        )
    return value


def _begins(path: Path, beginnings: tuple[str, ...]) -> bool:
    """Whether a name within its part begins so, by whole words: "stage1" isn't "stage10_conv0"."""
    name = "/".join(path[2:])
    return any(re.match(rf"{re.escape(start)}(?![^/_])", name) for start in beginnings)


def _check_beginnings(argument: str, beginnings: tuple[str, ...], leaves: Leaves) -> None:
    for start in beginnings:
        if not any(_begins(path, (start,)) for path in leaves):
            names = sorted({path[2] for path in leaves})
            raise ArgumentError(
                argument,
                f"names {start!r}, with which nothing begins; expected the beginnings of some of "
                f"{names}",
            )


def _check_parts(parts: tuple[str, ...], ours: Leaves, theirs: Leaves) -> None:
    for leaves, argument in ((ours, "target"), (theirs, "source")):
        found = sorted({path[1] for path in leaves if path[0] == "params"})
        for part in parts:
            if part not in found:
                raise ArgumentError(
                    argument,
                    f"has no params/{part}, but {found or 'no parameters at all'}; expected it on "
                    "both sides",
                )


def _check_fit(status, inner, outer, channels, partial, unused) -> None:
    def misfits(how: str) -> list[Path]:
        return [path for path in inner if status[path] == how and not _begins(path, partial)]

    missing, differing, adapted = map(misfits, ("new", "differs", "adapted"))
    spare = [path for path in outer if path not in inner and not _begins(path, unused)]
    why, facts = _reason(inner, outer)
    if missing and sorted(inner[p].shape for p in missing) == sorted(outer[p].shape for p in spare):
        why, facts = "{} there may be the same by another name", (_name(spare[0]),)
    for paths, what, sizes, argument in (
        (missing, "({}) is missing from {source}", (inner,), "partial"),
        (differing, "is {}, but {} in {source}", (inner, outer), "partial"),
        (spare, "({}) of {source} has no place in the network", (outer,), "unused"),
    ):
        if paths:
            more = f", like {len(paths) - 1} more," if len(paths) > 1 else ""
            shapes = (_size(leaves[paths[0]].shape) for leaves in sizes)
            raise ArgumentError.of(
                "{}{} " + what + "; expected {}s that are alike (" + why + "), or its name in "
                "{" + argument + "}",
                *(_name(paths[0]), more, *shapes, paths[0][1], *facts),
            )
    if adapted and channels == "refuse":
        raise ArgumentError.of(
            "{} takes {} channels, but {} in {source}; expected equal numbers, or 'adapt' as "
            "{channels}",
            *(_name(adapted[0]), inner[adapted[0]].shape[3], outer[adapted[0]].shape[3]),
        )


def _reason(inner: Leaves, outer: Leaves) -> tuple[str, tuple]:
    """In what the two encoders differ, as names and shapes show it: a template and its values."""
    ours, theirs = _arguments(inner), _arguments(outer)
    for argument, value in ours.items():
        if value != theirs[argument]:
            return f"{{encoder.{argument}}} is {{!r}} here and {{!r}} there", (
                value,
                theirs[argument],
            )
    return "see {encoder}", ()


def _arguments(leaves: Leaves) -> dict[str, str | tuple[int, ...]]:
    """The arguments of `models.make_encoder`, as far as an encoder's names and shapes show them."""
    names = ["/".join(path[2:]) for path in leaves if path[1] == "encoder"]
    kinds = {kind for kind in ("Batch", "Group") for name in names if f"{kind}Norm" in name}
    layers = {match[0] for name in names if (match := re.match(r"stage\d+_(conv|block)\d+", name))}
    widths = {
        int(match[1]): leaf.shape[-1]
        for path, leaf in leaves.items()
        if (match := re.match(r"stage(\d+)_(?:conv|block)\d+", path[2])) and path[-1] == "kernel"
    }
    convs = Counter(int(layer.removeprefix("stage").partition("_")[0]) for layer in layers)
    return {
        "name": "resnet" if any("_block" in layer for layer in layers) else "vgg",
        "norm": "+".join(sorted(kinds)).lower() or "none",
        "widths": tuple(widths[stage] for stage in sorted(widths)),
        "convs": tuple(convs[stage] for stage in sorted(convs)),
    }
