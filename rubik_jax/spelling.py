"""What was most likely meant by a name that isn't known, for the end of a sentence."""

import difflib
from collections.abc import Iterable

ALIKE = 0.6  # the least ratio of `difflib` at which two names are taken for one misspelled


def meant(name: str, known: Iterable[str]) -> str:
    """The known name that is most like a given one; "" where none is."""
    folded = {each.casefold().replace("-", "_"): each for each in known}
    word = name.casefold().replace("-", "_")
    close = difflib.get_close_matches(word, folded, n=1, cutoff=ALIKE)
    return folded[close[0]] if close else ""


def did_you_mean(name: str, known: Iterable[str], form: str = "{}") -> str:
    """ "; did you mean NAME?" for the end of a sentence, or "" where no known name is alike."""
    found = meant(name, known)
    return f"; did you mean {form.format(found)}?" if found else ""
