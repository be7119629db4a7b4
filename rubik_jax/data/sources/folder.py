"""A folder of volumes: one glob per modality, and what the wildcards matched names the case.

So files pair up as the modalities of one case:

    modalities                              file                     case
    ("*.nii.gz",)                           a17.nii.gz               a17
    ("*/T1.nii.gz", "*/T2.nii.gz")          p03/T2.nii.gz            p03
    ("**/*_t1.nii.gz", "**/*_t2.nii.gz")    site/p03/p03_t1.nii.gz   site_p03
    ("T1.nii.gz", "T2.nii.gz")              T2.nii.gz                the folder's name
"""

import glob
import itertools
import re
from pathlib import Path

from rubik_jax.data.cases import Case, Where, existing, stem
from rubik_jax.errors import UserError


def cases(where: Where) -> list[Case]:
    """The cases whose files match the globs.

    Args:
        where: `path` is a folder, or one file (then `modalities` is not looked at); `modalities`
            are globs relative to it, in the order of the channels, and `masks` is such a glob, or
            "": a case may lack a mask, and a file that it matches is never taken for an image.

    Raises:
        UserError: nothing there, nothing matched, not a regular file, or a case lacks a modality.
    """
    root, modalities, masks = existing(where.path), where.modalities, where.masks
    sole = root.resolve().name
    if root.is_file():
        root, modalities, sole = root.parent, (glob.escape(root.name),), stem(root.name)
    if not modalities or not all(modalities):
        raise UserError(f"config.data.modalities is {modalities!r}: expected one glob per modality")
    if next(root.iterdir(), None) is None:
        raise UserError(f"config.data.path is {root}, which is an empty folder")

    labels = _match(root, masks, sole) if masks else {}
    claimed = frozenset(labels.values())
    found = [_match(root, pattern, sole, besides=claimed) for pattern in modalities]
    names = sorted(set().union(*found))
    for pattern, files in zip(modalities, found, strict=True):
        lacking = [name for name in names if name not in files]
        if lacking:
            raise UserError(
                f"case {lacking[0]!r} has no file that matches {pattern!r} in {root} "
                f"({len(lacking)} of {len(names)} cases lack this modality)"
            )
    if labels and not labels.keys() & names:
        raise UserError(
            f"the {len(labels)} masks that match {masks!r} belong to none of the cases: "
            f"the first mask is of {min(labels)!r}, the first case is {names[0]!r}"
        )
    return [Case(name, tuple(files[name] for files in found), labels.get(name)) for name in names]


def _match(
    root: Path, pattern: str, sole: str, besides: frozenset[Path] = frozenset()
) -> dict[str, Path]:
    """Case name → file, of the files that match one glob; hidden files are left out.

    `sole` names the case for which the wildcards, if any, stand for nothing.
    """
    wildcards = re.compile(_regex(pattern))
    files: dict[str, Path] = {}
    for relative in sorted(set(glob.glob(pattern, root_dir=root, recursive=True))):
        file = root / relative
        if file in besides:
            continue
        if not file.is_file():
            kind = "a folder" if file.is_dir() else "a link to nothing or not a regular file"
            raise UserError(f"{file} matches {pattern!r} but is {kind}: expected a volume's file")
        name = _name(wildcards.fullmatch(Path(relative).as_posix())) or sole
        if name in files:
            raise UserError(
                f"{files[name]} and {file} both match {pattern!r} as case {name!r}: "
                "expected one file per case and modality"
            )
        files[name] = file
    if not files:
        raise UserError(f"no file in {root} matches {pattern!r}")
    return files


def _name(match: re.Match | None) -> str:
    """What the wildcards matched, as one name; p03/p03_t1.nii.gz is p03, not p03_p03."""
    matched = "/".join(group for group in match.groups() if group) if match else ""
    # A piece after a dot in the glob, as in "*.nii*", is a part of the suffix.
    parts = [part for part in matched.split("/") if not part.startswith(".")]
    return stem("_".join(part for part, _ in itertools.groupby(parts)))


def _regex(pattern: str) -> str:
    """The glob as a regular expression with one group per wildcard."""
    parts = pattern.removeprefix("./").split("/")
    tokens = re.compile(r"\*+|\?|\[!?\]?[^\]]*\]|.")
    expression = ""
    for i, part in enumerate(parts):
        if part == "**":
            expression += r"(?:(.+)/)?" if i < len(parts) - 1 else "(.*)"
            continue
        expression += "".join(_token(token) for token in tokens.findall(part))
        expression += "/" if i < len(parts) - 1 else ""
    return expression


def _token(token: str) -> str:
    if token[0] == "*":
        return "([^/]*)"
    if token == "?":
        return "([^/])"
    if token[0] == "[" and len(token) > 2:
        inside = token[1:-1]
        if len(inside) == 1:  # how a glob writes a wildcard's own character
            return re.escape(inside)
        refused = "^" if inside[0] == "!" else ""
        inside = inside.removeprefix("!").replace("\\", r"\\").replace("^", r"\^")
        return f"([{refused}{inside}])"
    return re.escape(token)
