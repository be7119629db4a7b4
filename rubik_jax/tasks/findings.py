"""Whether a segmentation is healthy, by what it answers beside what there is."""

import math
from collections.abc import Sequence

from rubik_jax.data.editions import listed

MUCH = 5  # times as much foreground as there is, from which on it's too much


def diagnose(
    numbers: dict[str, float], values: Sequence[int], *, weighted: bool = True
) -> list[str]:
    """Sentences on what is answered beside what there is, of labels but the background.

    Args:
        numbers: of held-out windows or cases; `truth_share_1` and `answered_share_1` are the
            shares of their voxels that have label 1 in the masks and in the answers.
        values: the labels, the background first.
        weighted: whether the loss can weigh labels.
    """
    there, given = (
        {value: numbers[f"{who}_share_{value}"] for value in values[1:]}
        for who in ("truth", "answered")
    )
    truth, answered = math.fsum(there.values()), math.fsum(given.values())
    less = "try a lower config.data.foreground or more config.steps"
    more = "try more config.steps, a larger config.optim.rate or config.data.foreground=0.5"
    if weighted:
        less += ", with config.loss.balanced=False"
        more += ", or config.loss.balanced=True"
    if not truth:
        told = (
            "the masks hold no foreground in what was evaluated, so that Dice says nothing of what "
            f"is found; the network labels {_percent(answered)} of the voxels"
        )
        split = "evaluate on cases with foreground, by config.data.split.seed or .file"
        return [f"{told}; {less}, and {split}" if answered else f"{told}; {split}"]
    if not answered:
        return [f"the network answers nothing but background; {more}"]
    found = []
    if answered > MUCH * truth:
        found.append(
            f"the network labels {_percent(answered)} of the voxels as foreground, the masks "
            f"{_percent(truth)}; {less}"
        )
    never = [value for value in there if there[value] and not given[value]]
    if never:
        found.append(f"the network never answers {_labels(never)}; {more}")
    wrong = [
        value
        for value in there
        if there[value] and given[value] and numbers.get(f"dice_{value}") == 0
    ]
    if wrong:
        found.append(
            f"the network answers {_labels(wrong)}, but in no voxel where the masks do; try "
            "more config.steps or another config.optim.rate"
        )
    return found


def _labels(values: Sequence[int]) -> str:
    return f"label{'s' if len(values) > 1 else ''} {listed(values)}"


def _percent(share: float) -> str:
    return f"{share:.2%}" if 0 < share < 0.01 else f"{share:.0%}"
