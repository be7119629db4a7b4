"""What sets a case apart from the others of its cohort, said in sentences, before it's trained on.

Numbers are compared with the bulk of the cohort, its 10th to 90th percentile: a value is far when
it lies beyond the bulk by more than the bulk's own width, and by more than what no one would mind.
So a cohort of identical cases has no outliers, and neither has one of two scanners, or one whose
scans differ in their number of slices. Of what a case has one of several of, only what is rare
beside a few usual ones counts.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

LEAST = 4  # cases, for one to be compared with the others
RARE = 20  # what at most one in so many cases has is rare
ALIKE = 10  # cases with as many voxels along an axis, for another number to be odd
FEW = 16  # of a histogram's bins are filled by a mask
BULK = 10  # one in so many cases may lie off at either end, and be named by one check

Facts = Mapping[str, Any]


class Finding(NamedTuple):
    """What one check finds: which case, how far off it is among those found, and in words."""

    case: int
    far: float
    sentence: str


def find(names: Sequence[str], facts: Sequence[Facts]) -> dict[str, list[str]]:
    """The cases that differ from the others, and in what.

    Args:
        names: of the cases.
        facts: of each, as `facts.describe` gives them.

    Returns:
        Case -> sentences, each with what was found and what the others have; the gravest cases
        first. Of fewer than `LEAST` cases only what is wrong in itself is said: voxels that are
        another case's, masks without a label or in the place of a scan, channels of zeros, headers
        that contradict themselves.
    """
    most = max(2, len(facts) // BULK)
    compared = []
    if len(facts) >= LEAST:
        rare = [list(_rare(*of)) for of in _kinds(facts)]
        compared = [
            _grid(facts),
            _shapes(facts),
            _labels(facts),
            *rare,
            _volumes(facts),
            *_intensities(facts),
        ]
        # Of what's only relative, the furthest are enough: many would bury the others.
        compared = [sorted(found, key=lambda of: -of.far)[:most] for found in compared]
    checks = [_repeated(names, facts), _blank(facts), _masks(facts), _doubts(facts)]
    checks += [*compared, _absent(facts)]
    said = defaultdict(dict)
    # A check that names many tells of the cohort rather than of cases, so it comes last.
    for found in sorted(checks, key=lambda found: len(found) > most):
        for case, _, sentence in found:
            said[names[case]][sentence] = None
    return {name: list(sentences) for name, sentences in said.items()}


def called(facts: Facts, k: int) -> str:
    """Channel k as its source calls it, or by its number."""
    return facts["channels"][k].get("name", f"channel {k}")


def amount(value: float) -> str:
    """A number as people write it, with three digits or to the unit: 0.648, -1024, 1.7e6."""
    if value and not 1e-3 <= abs(value) < 1e5:
        digits, power = f"{value:.1e}".split("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value + 0.0:.3g}"


def times(values: Iterable[float]) -> str:
    """Sizes along axes: 1x1x2.5."""
    return "x".join(str(value) if isinstance(value, int) else amount(value) for value in values)


def _repeated(names: Sequence[str], facts: Sequence[Facts]) -> list[Finding]:
    holders = defaultdict(list)
    for i, of in enumerate(facts):
        holders[of["digest"]].append(i)
    found = []
    for same in holders.values():
        for i in same if len(same) > 1 else ():
            others = [names[j] for j in same if j != i]
            more = f" and {len(others) - 3} more" if len(others) > 3 else ""
            found.append(Finding(i, 1, f"the same voxels as {', '.join(others[:3])}{more}"))
    return found


def _blank(facts: Sequence[Facts]) -> list[Finding]:
    return [
        Finding(i, 1, "the mask is 0 everywhere")
        for i, of in enumerate(facts)
        if of["labels"] is not None and not any(map(int, of["labels"]))
    ]


def _masks(facts: Sequence[Facts]) -> list[Finding]:
    """Scans of few values among others of many: most likely masks that nobody told from scans."""
    few = [
        all(np.count_nonzero(channel["histogram"]) <= FEW for channel in of["channels"])
        for of in facts
    ]
    said = "only a few values, as a mask holds (config.data.masks says which files are masks)"
    return [] if all(few) else [Finding(i, 1, said) for i in np.flatnonzero(few)]


def _doubts(facts: Sequence[Facts]) -> list[Finding]:
    """What a header says in two ways; cases noted before there was a look at that have none."""
    return [Finding(i, 1, said) for i, of in enumerate(facts) for said in of.get("doubts", ())]


def _absent(facts: Sequence[Facts]) -> list[Finding]:
    return [
        Finding(i, 1, f"{called(of, k)} is missing: it is 0 everywhere")
        for i, of in enumerate(facts)
        for k, channel in enumerate(of["channels"])
        if channel["min"] == channel["max"] == 0
    ]


def _kinds(facts: Sequence[Facts]) -> Iterator[tuple[str, list[str]]]:
    """What a case has one of several of."""
    yield "orientation ", [of["orientation"] for of in facts]
    yield "mask: ", ["none" if of["labels"] is None else "one" for of in facts]
    yield "format ", [of["format"] for of in facts]
    yield "type ", [of["dtype"] for of in facts]


def _rare(what: str, values: Sequence[str]) -> Iterator[Finding]:
    """What few have, unless there are many such, as where every case has one of its own."""
    counts = Counter(values)
    few = max(1, len(values) // RARE)
    rare = [i for i, value in enumerate(values) if counts[value] <= few]
    if len(rare) > few:
        return
    usual = ", ".join(f"{value} ({n})" for value, n in counts.most_common(3) if n > few)
    for i in rare:
        yield Finding(i, 1 / counts[values[i]], f"{what}{values[i]}; the others {usual}")


def _shapes(facts: Sequence[Facts]) -> list[Finding]:
    """Other numbers of voxels along an axis than almost all have alike.

    Where the number varies from case to case, as that of slices does in a hospital's scans, it
    tells nothing; how far they reach in mm is compared by `_grid`.
    """
    shapes = np.array([of["shape"] for of in facts])
    few, odd, alike = max(1, len(facts) // RARE), {}, []
    for axis, sizes in zip("xyz", shapes.T, strict=True):
        usual, n = Counter(sizes.tolist()).most_common(1)[0]
        if n >= ALIKE and len(facts) - n <= few:
            alike.append(f"{usual} along {axis}")
            odd |= {int(i): None for i in np.flatnonzero(sizes != usual)}
    others = Counter(times(row) for i, row in enumerate(shapes.tolist()) if i not in odd)
    same, n = others.most_common(1)[0] if others else ("", 0)
    usual = f"{same} ({n})" if len(others) == 1 else f"have {', '.join(alike)}"
    return [
        Finding(i, 1, f"shape {times(shapes[i].tolist())}; the others {usual}")
        for i in (odd if len(odd) <= few else ())
    ]


def _grid(facts: Sequence[Facts]) -> list[Finding]:
    spacing = np.array([of["spacing"] for of in facts])
    extent = spacing * [of["shape"] for of in facts]
    return [
        *_apart("voxels of {} mm", spacing, _far(np.log(spacing), np.log(1.5)), times),
        *_apart("an extent of {} mm", extent, _far(np.log(extent), np.log(1.5)), times),
    ]


def _labels(facts: Sequence[Facts]) -> list[Finding]:
    """Labels that almost all masks have and one lacks, or the other way round."""
    masks = {i: set(of["labels"]) for i, of in enumerate(facts) if _labelled(of)}
    counts = Counter(value for there in masks.values() for value in there)
    few = max(1, len(masks) // (2 * RARE))
    found = []
    for i, there in masks.items() if len(masks) >= LEAST else ():
        lacking = [value for value, n in counts.items() if len(masks) - n <= few]
        lacking = sorted(set(lacking) - there, key=int)
        strange = sorted((value for value in there if counts[value] <= few), key=int)
        if lacking:
            said = f"no label {', '.join(lacking)}, which {counts[lacking[0]]} of {len(masks)} have"
            found.append(Finding(i, len(lacking), said))
        if strange:
            n = counts[strange[0]]
            said = f"label {', '.join(strange)}, which {n} of {len(masks)} "
            found.append(Finding(i, len(strange), f"{said}{'has' if n == 1 else 'have'}"))
    return found


def _volumes(facts: Sequence[Facts]) -> list[Finding]:
    found = []
    edges = np.array([of["spacing"] for of in facts])
    for label in sorted(
        {value for of in facts for value in of["labels"] or () if int(value)}, key=int
    ):
        voxels = [(of["labels"] or {}).get(label, np.nan) for of in facts]
        volume = (np.array(voxels) * edges.prod(axis=1))[:, None]
        far = _far(np.log(volume), np.log(3))
        found += _apart(f"label {label} of {{}} mm³", volume, far, lambda of: amount(*of))
    return found


def _labelled(of: Facts) -> bool:
    return bool(of["labels"]) and any(map(int, of["labels"]))


def _intensities(facts: Sequence[Facts]) -> Iterator[list[Finding]]:
    """Channel by channel, in quantities that a change of unit alone leaves as they are."""

    def between(bounds: np.ndarray) -> str:
        return " to ".join(map(amount, bounds))

    for k in range(len(facts[0]["channels"])):
        of = {
            key: np.array([f["channels"][k][key] for f in facts], float)
            for key in ("min", "max", "low", "high", "foreground")
        }
        where = f" in {called(facts[0], k)}" if len(facts[0]["channels"]) > 1 else ""
        width = np.where(of["high"] > of["low"], of["high"] - of["low"], of["max"] - of["min"])
        width[width == 0] = np.nan  # a channel that is missing has nothing to compare
        bounds = np.stack([of["low"], of["high"]], axis=1) + 0 * width[:, None]
        scale, offset = np.log(width)[:, None], (of["low"] / width)[:, None]
        far = np.fmax(_far(scale, np.log(3)), _far(offset, 0.25))
        yield list(_apart(f"intensities from {{}}{where}", bounds, far, between, typical=True))
        mean, deviation = _moments([f["channels"][k]["histogram"] for f in facts])
        shares = {
            "the mean at {} of the intensities' range": (mean, 0.2),
            "a deviation of {} of the intensities' range": (deviation, 0.15),
            "a foreground of {} of the voxels": (of["foreground"], 0.25),
        }
        for what, (share, floor) in shares.items():
            share = (share + 0 * width)[:, None]
            yield list(_apart(what + where, share, _far(share, floor), lambda of: f"{of[0]:.0%}"))


def _moments(histograms: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each histogram, as shares of its range."""
    counts = np.array(histograms, float)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    at = (np.arange(counts.shape[1]) + 0.5) / counts.shape[1]
    mean = shares @ at
    return mean, np.sqrt((shares * (at - mean[:, None]) ** 2).sum(axis=1))


def _far(values: np.ndarray, floor: float) -> np.ndarray:
    """How far each row of values [n, k] lies beyond the bulk, by its worst column; far above 1.

    Args:
        values: NaN where there is none, which is never far.
        floor: what no one would mind.
    """
    worst = np.zeros(len(values))
    for column in values.T:
        known = np.sort(column[~np.isnan(column)])
        if len(known) < LEAST:
            continue
        off = max(1, len(known) // BULK)
        low, high = known[off], known[-1 - off]
        # Of few cases the bulk is known less well.
        margin = max(floor, (high - low) * (1.5 + 20 / len(known)))
        beyond = np.fmax(low - column, column - high) / margin
        worst = np.fmax(worst, beyond)
    return worst


def _apart(
    what: str,
    values: np.ndarray,
    far: np.ndarray,
    say: Callable[[np.ndarray], str],
    *,
    typical: bool = False,
) -> Iterator[Finding]:
    """A sentence for each row of values [n, k] that is far, with what the others have.

    Args:
        what: of the sentence's beginning, with {} for a row's values.
        far: of each row, as `_far` tells it.
        typical: whether to tell the medians of the others in place of their range.
    """
    others = values[(far <= 1) & ~np.isnan(values).any(axis=1)]
    if not len(others):
        return
    if typical:
        usual = f"the others typically {say(np.median(others, axis=0))}"
    else:
        least, most = say(others.min(axis=0)), say(others.max(axis=0))
        usual = f"the others {least}" if least == most else f"the others {least} to {most}"
    for i in np.flatnonzero(far > 1):
        yield Finding(i, far[i], f"{what.format(say(values[i]))}; {usual}")
