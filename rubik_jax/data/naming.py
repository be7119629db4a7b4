"""Names cases by what the wildcards of a glob matched, so that the files of one case pair up."""

import re
from collections.abc import Sequence

from rubik_jax.data.cases import canonical, stem
from rubik_jax.data.formats.scan import lowered
from rubik_jax.errors import UserError

# A part of a path: what its wildcards matched, and the whole of it. A file's name counts as what
# they matched alone, since the rest of it tells modalities apart.
Piece = tuple[str, str]


def name_files(
    patterns: Sequence[str], found: Sequence[Sequence[str]], sole: str
) -> list[dict[str, str]]:
    """Case name → file, for each glob.

    A name is what the wildcards matched, part by part of the path. A folder that a later part
    repeats (p03/p03_t1, sub-01/ses-01/anat/sub-01_ses-01_T1w) is left out where that leaves the
    names unique.

    Args:
        patterns: the globs, normalised as paths are.
        found: the paths that each matched, relative to the same folder.
        sole: names the case for which the wildcards, if any, stand for nothing.

    Raises:
        UserError: two files that one glob gives the same name.
    """
    pieces = [
        [_pieces(expression, file) for file in files]
        for expression, files in zip(map(_expression, patterns), found, strict=True)
    ]
    for shorten in (_without_repeats, list):
        named = [
            [canonical("_".join(shown for shown, _ in shorten(each)) or sole) for each in files]
            for files in pieces
        ]
        if all(len({*each}) == len(each) for each in named):
            break
    return [_paired(*each) for each in zip(patterns, named, found, strict=True)]


def _paired(pattern: str, named: Sequence[str], files: Sequence[str]) -> dict[str, str]:
    paired: dict[str, str] = {}
    for case, file in zip(named, files, strict=True):
        if case in paired:
            raise UserError.of(
                "{} and {} both match {!r} as case {!r}: expected one file per case and modality "
                "({data.modalities} chooses by globs)",
                *(paired[case], file, pattern, case),
            )
        paired[case] = file
    return paired


def _pieces(expression: re.Pattern, path: str) -> list[Piece]:
    """The parts of a path in which wildcards stood, the file's name up to its suffix."""
    match = expression.fullmatch(lowered(path)) or expression.fullmatch(path)
    if match is None or path == ".":
        return []
    folders, last = path.rpartition("/")[::2]
    end = len(path) - len(last) + len(stem(last))
    parts = [*folders.split("/"), ""] if folders else [""]
    matched: list[list[str]] = [[] for _ in parts]
    for group in range(1, expression.groups + 1):
        start, stop = match.span(group)
        if 0 <= start < end:
            first = path.count("/", 0, start)
            for place, text in enumerate(path[start : min(stop, end)].split("/"), first):
                matched[place] += [text] if text else []
    shown = ["_".join(texts) for texts in matched]
    return [(text, part or text) for text, part in zip(shown, parts, strict=True) if text]


def _without_repeats(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces without the longest run of them that a later one begins with."""
    kept: list[Piece] = []
    for piece in pieces:
        runs = (
            (i, i + length)
            for length in range(len(kept), 0, -1)
            for i in range(len(kept) - length + 1)
            if any(_begins(piece[1], column) for column in zip(*kept[i : i + length], strict=True))
        )
        start, stop = next(runs, (0, 0))
        kept = [*kept[:start], *kept[stop:], piece]
    return kept


def _begins(text: str, run: Sequence[str]) -> bool:
    """Whether a text begins with these words, one after the other."""
    whole, beginning = (re.sub(r"[\W_]", "_", words) + "_" for words in (text, "_".join(run)))
    return whole.startswith(beginning)


def _expression(pattern: str) -> re.Pattern:
    """The glob as a regular expression with one group per wildcard."""
    parts = lowered(pattern).split("/")
    tokens = re.compile(r"\*+|\?|\[!?\]?[^\]]*\]|.")
    expression = ""
    for i, part in enumerate(parts):
        if part == "**":
            expression += r"(?:(.+)/)?" if i < len(parts) - 1 else "(.*)"
            continue
        expression += "".join(_token(token) for token in tokens.findall(part))
        expression += "/" if i < len(parts) - 1 else ""
    return re.compile(expression)


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
