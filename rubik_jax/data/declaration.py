"""What a source declares of the labels of its masks, and what a `dataset.json` says of them."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rubik_jax.errors import UserError

# Readers of nnU-Net whose files are volumes that are read here with the same axes and voxels.
READERS = ("SimpleITKIO", "SimpleITKIOWithReorient", "NibabelIO", "NibabelIOWithReorient")
FLAT = ("NaturalImage2DIO",)
# Channel names by which nnU-Net chooses another normalisation than a z-score of each case.
SCALED = ("ct", "nonorm", "rescale_to_0_1", "rgb_to_0_1")


class Declared(NamedTuple):
    """What a source says of its masks beside the labels that there may be.

    names: label -> what it is called, without those of regions.
    regions: name -> the labels of which a region is made, in the source's own order; one that is a
        single label among them. Empty where the source declares labels alone.
    order: the label that is painted for each region, where later ones cover earlier ones.
    ignore: the label that says nothing; -1 for none.
    editions: case -> the editions of BraTS that it may be of, as its files are named.
    notes: sentences on what is declared and not obeyed.
    """

    names: Mapping[int, str] = {}
    regions: Mapping[str, tuple[int, ...]] = {}
    order: tuple[int, ...] = ()
    ignore: int = -1
    editions: Mapping[str, tuple[str, ...]] = {}
    notes: tuple[str, ...] = ()


def numbers(labels: Mapping[str, Any]) -> tuple[int, ...] | None:
    """All labels that a `dataset.json` declares, rising; None where it declares none."""
    return tuple(sorted({n for _, these in _entries(labels) for n in these})) or None


def of_dataset(file: object, content: Mapping[str, Any]) -> Declared:
    """What a `dataset.json` of the Decathlon or nnU-Net declares.

    As nnU-Net has it: where any label is a list of several, all but the background and "ignore"
    are regions, and `regions_class_order` says which label is painted for each
    (documentation/region_based_training.md, nnunetv2/utilities/label_handling).

    Args:
        file: named in sentences.
        content: of the file.

    Raises:
        UserError: labels that contradict each other, or a reader of flat pictures.
        ValueError, TypeError: labels that are no numbers.
    """
    entries = dict(_entries(content.get("labels") or {}))
    ignored = [name for name in entries if name.casefold() == "ignore"]
    ignore = -1
    if ignored:
        (ignore, *more) = entries.pop(ignored[0])
        if more or ignore <= 0 or any(ignore in these for these in entries.values()):
            raise UserError(
                f"{file} declares the label 'ignore' as {content['labels'][ignored[0]]!r}: "
                "expected one number above 0 that no other label has"
            )
    background = next((name for name in entries if name.casefold() == "background"), None)
    if background is not None and entries[background] != (0,):
        raise UserError(
            f"{file} declares the background as {', '.join(map(str, entries[background]))}: "
            "expected label 0"
        )
    notes = list(_notes(file, content))
    named = {these[0]: name for name, these in entries.items() if len(these) == 1}
    if background is None and 0 in named:
        notes.append(f"{file} calls label 0 {named[0]!r}, which is taken for the background")
    regions = {name: these for name, these in entries.items() if these != (0,)}
    for name, these in regions.items():
        if 0 in these:
            raise UserError(
                f"{file} makes {name!r} of {', '.join(map(str, these))}: expected labels above 0, "
                "which is the background"
            )
    _refuse_doubled(file, entries)
    if not any(len(these) > 1 for these in regions.values()):
        return Declared(names=named, ignore=ignore, notes=tuple(notes))
    order = tuple(int(label) for label in content.get("regions_class_order") or ())
    if order and len(order) != len(regions):
        raise UserError(
            f"{file} has {len(order)} labels in 'regions_class_order' for {len(regions)} regions: "
            "expected one for each"
        )
    return Declared(named, regions, order, ignore, {}, tuple(notes))


def _refuse_doubled(file: object, entries: Mapping[str, tuple[int, ...]]) -> None:
    """Refuses two names of one label."""
    named: dict[int, str] = {}
    for name, these in entries.items():
        if len(these) == 1 and named.setdefault(these[0], name) != name:
            raise UserError(
                f"{file} calls label {these[0]} both {named[these[0]]!r} and {name!r}: expected "
                "one name"
            )


def _whole(number: Any) -> int:
    if isinstance(number, float) and number != int(number):
        raise ValueError(f"the label {number} is no whole number")
    return int(number)


def _entries(labels: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name -> labels: version 1 maps numbers to names, version 2 names to one number or several."""
    for key, value in labels.items():
        if isinstance(value, list):
            yield key, tuple(dict.fromkeys(map(_whole, value)))
        elif isinstance(value, int) or not key.isdecimal():
            yield key, (_whole(value),)
        else:
            yield str(value), (int(key),)


def _notes(file: object, content: Mapping[str, Any]) -> Iterator[str]:
    """What else of a `dataset.json` bears on how files are read."""
    reader = content.get("overwrite_image_reader_writer")
    if reader in FLAT or str(content.get("tensorImageSize", "")).upper() == "2D":
        raise UserError(
            f"{file} is of flat pictures ({reader or '2D'}): expected volumes of three dimensions"
        )
    if reader and reader not in READERS:
        yield (
            f"{file} names {reader} as what reads its files; they are read here by what they hold, "
            "in the axis order of their format"
        )
    if content.get("label_manager"):
        yield f"{file} names the label manager {content['label_manager']}, which is not looked at"
