"""A folder of volumes: all that are there, or a glob per modality, whose wildcards name the case.

So files pair up as the modalities of one case, whatever their format:

    modalities                              file                      case
    ()                                      site/p03/p03_t1.nii.gz    site_p03_t1
    ("*.nii.gz",)                           a17.nii.gz                a17
    ("*/T1.*", "*/T2.*")                    p03/T2.nrrd               p03
    ("*/T1", "*/T2")                        p03/T1/, slices of DICOM  p03
    ("**/*_t1.nii.gz", "**/*_t2.nii.gz")    site/p03/p03_t1.nii.gz    site_p03
    ("T1.nii.gz", "T2.nii.gz")              T2.nii.gz                 the folder's name
"""

import glob
import os
from collections.abc import Set
from pathlib import Path

from rubik_jax.data import formats
from rubik_jax.data.cases import Case, Where, existing, stem
from rubik_jax.data.formats import walk
from rubik_jax.data.formats.scan import lowered
from rubik_jax.data.formats.signatures import slices_in
from rubik_jax.data.naming import name_files
from rubik_jax.errors import UserError

# Files of voxels that are read by their header.
_HEADERS = {".img": (".hdr",), ".raw": (".mhd", ".nhdr"), ".zraw": (".mhd",)}


def cases(where: Where) -> list[Case]:
    """The cases whose files match the globs; None stands for a modality that a case lacks.

    Args:
        where: `path` is a folder, or one volume: a file, or a folder of DICOM slices in which no
            glob matches; `modalities` are globs relative to it, in the order of the channels (not
            looked at for one volume), or () for every volume below it as a case of its own;
            `masks` is such a glob, or "": a case may lack a mask, and a file that it matches is
            never taken for an image.

    Raises:
        UserError: nothing there, a glob that matches nothing, no volume's file, or two for one, or
            a layout that another source reads.
    """
    root = existing(where.path)
    modalities = tuple(map(os.path.normpath, where.modalities))
    masks = where.masks and os.path.normpath(where.masks)
    sole = root.resolve().name
    if root.is_file():
        root, modalities, sole = root.parent, (glob.escape(root.name),), stem(root.name)
    _refuse_empty(root)
    if not modalities and (root / "dataset.json").is_file():
        raise UserError(
            f"{root} holds a dataset.json, as the Decathlon and nnU-Net write it: expected "
            "config.data.source=msd, or globs in config.data.modalities"
        )
    claimed = _match(root, masks) if masks else []
    besides = {_place(root, file) for file in claimed}
    if modalities:
        found = [_match(root, pattern, besides) for pattern in modalities]
    else:
        found = [_volumes(root, besides)]
    if not any(found) and slices_in(root):
        return [Case(sole, (root,))]
    patterns = (*(modalities or ("**/*",)), masks)
    for pattern, files in zip(patterns, (*found, claimed), strict=True):
        if pattern and not files:
            raise UserError.of("no file in {} matches {!r} ({data.modalities})", root, pattern)
    *images, labels = name_files(patterns, (*found, claimed), sole)
    _refuse_strangers(masks, labels, images)
    called = modalities if len(modalities) > 1 else ()
    found = [
        Case(
            name,
            tuple(_path(root, files.get(name)) for files in images),
            _path(root, labels.get(name)),
            modalities=called,
        )
        for name in sorted(set().union(*images))
    ]
    return _without_links(found)


def _match(root: Path, pattern: str, besides: Set[str] = frozenset()) -> list[str]:
    """The files that a glob matches, relative to the folder, as `walk` lists them.

    A folder counts where it holds DICOM slices, and is passed over where something in it matches;
    of a header and its file of voxels the header counts.
    """
    paths = walk.match(root, pattern)
    found = {file for file in paths if _place(root, file) not in besides}
    above = {str(folder) for file in found for folder in Path(file).parents}
    lower = {*map(lowered, found)}
    volumes = sorted(file for file in found - above if not _is_half(file, lower))
    for file in volumes:
        path = root / file
        if path.is_dir() and not any(slices_in(folder) for folder, _ in walk.folders(path)):
            raise UserError(
                f"{path} matches {pattern!r} but is a folder without DICOM slices: expected a "
                "volume's file or such a folder"
            )
        if not path.exists():
            raise UserError(f"{path} matches {pattern!r} but is a link to nothing")
    return volumes


def _volumes(root: Path, besides: Set[str]) -> list[str]:
    """Whatever below the folder could be a volume, relative to it."""
    found = formats.find(root)
    if not found and not slices_in(root):
        raise UserError(
            f"no volume lies in {root}: expected files that end in {', '.join(formats.SUFFIXES)}, "
            "or folders of DICOM slices"
        )
    found = [file.relative_to(root).as_posix() for file in found]
    return [file for file in found if _place(root, file) not in besides]


def _is_half(file: str, lower: Set[str]) -> bool:
    """Whether it is read by its header, which was found as well."""
    name, suffix = os.path.splitext(lowered(file))
    return any(name + end in lower for end in _HEADERS.get(suffix, ()))


def _without_links(cases: list[Case]) -> list[Case]:
    """The cases without those whose images are links to those of another, as it has them."""
    linked = [c.name for c in cases if all(image.is_symlink() for image in filter(None, c.images))]
    if not linked:
        return cases
    own = {c.name: tuple(image and walk.identity(str(image)) for image in c.images) for c in cases}
    plain = {files for name, files in own.items() if name not in {*linked}}
    twice = {name for name in linked if own[name] in plain}
    return [case for case in cases if case.name not in twice]


def _refuse_empty(root: Path) -> None:
    try:
        empty = next(root.iterdir(), None) is None
    except OSError as error:
        raise UserError(f"{root} is a folder that can't be listed: {error.strerror}") from error
    if empty:
        raise UserError(f"config.data.path is {root}, which is an empty folder")


def _refuse_strangers(masks: str, labels: dict[str, str], images: list[dict[str, str]]) -> None:
    names = set().union(*images)
    if labels and not labels.keys() & names:
        raise UserError(
            f"none of the {len(labels)} files that match {masks!r} belongs to a case: the first "
            f"mask is of {min(labels)!r}, the first case is {min(names)!r}; expected the wildcards "
            "of config.data.masks to match what those of config.data.modalities do"
        )


def _place(root: Path, file: str) -> str:
    return os.path.abspath(root / file)


def _path(root: Path, file: str | None) -> Path | None:
    return None if file is None else root / file
