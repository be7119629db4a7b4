"""Toy heads, generated into the folder the first time that they're asked for."""

from pathlib import Path

from rubik_jax.data import phantom
from rubik_jax.data.cases import Case
from rubik_jax.errors import UserError


def cases(
    path: str | Path | None, *, modalities: tuple[str, ...], masks: str, count: int, seed: int
) -> list[Case]:
    """The first `count` phantoms of the cohort `seed`, with their masks and classes.

    Args:
        path: the folder that holds them, or shall hold them.
        modalities: ignored, a phantom has one.
        masks: ignored, every phantom has one.
        count: how many.
        seed: which cohort.

    Raises:
        UserError: no path, a folder that holds anything else, or a file that is gone.
    """
    del modalities, masks
    if not path:
        raise UserError("config.data.path is not set: expected a folder to keep the phantoms in")
    folder = Path(path).expanduser()
    phantom.write(folder, count, seed)
    pairs = [phantom.paths(folder, case) for case in range(count)]
    gone = [file for pair in pairs for file in pair if not file.is_file()]
    if gone:
        raise UserError(
            f"{gone[0]} is gone, though {folder / phantom.DONE} says that it was written: "
            "delete that folder and it is generated anew"
        )
    return [
        Case(phantom.name_of(case), (image,), label, target=phantom.kind_of(seed, case))
        for case, (image, label) in enumerate(pairs)
    ]
