"""What the labels of a brain tumour's mask mean, which differs between the editions of BraTS."""

import re
from collections.abc import Collection, Mapping, Sequence

from rubik_jax.data.declaration import Declared
from rubik_jax.errors import UserError

# Label -> the tissue that it stands for. The regions that the challenge scores follow from it.
EDITIONS: dict[str, dict[int, str]] = {
    # 2012 to 2016: necrosis 1, oedema 2, non-enhancing tumour 3, enhancing tumour 4
    # (Menze et al., IEEE TMI 34:1993, 2015).
    "brats_2015": {1: "core", 2: "oedema", 3: "core", 4: "enhancing"},
    # 2017 to 2021: NCR/NET 1, ED 2, ET 4 (Bakas et al., arXiv:1811.02629; arXiv:2107.02314).
    "brats_2018": {1: "core", 2: "oedema", 4: "enhancing"},
    # 2023 to 2025, before treatment, and all of 2023: NCR or NETC 1, ED or SNFH 2, ET 3
    # (arXiv:2305.07642 for MEN, 2306.00838 for MET, 2305.17033 for PED).
    "brats_2023": {1: "core", 2: "oedema", 3: "enhancing"},
    # GLI since 2024, MET since 2025: NETC 1, SNFH 2, ET 3, resection cavity 4 (arXiv:2405.18368).
    "brats_2024": {1: "core", 2: "oedema", 3: "enhancing", 4: "cavity"},
    # PED since 2024: ET 1, NET 2, cystic component 3, ED 4 (arXiv:2404.15009).
    "brats_ped_2024": {1: "enhancing", 2: "core", 3: "cyst", 4: "oedema"},
    # Decathlon Task01 by its dataset.json, and what nnU-Net's Dataset137_BraTS21.py makes of 2021.
    "decathlon": {1: "oedema", 2: "core", 3: "enhancing"},
}
TISSUES = {
    "core": "necrosis or tumour that does not enhance",
    "oedema": "oedema",
    "enhancing": "enhancing tumour",
    "cavity": "resection cavity",
    "cyst": "cysts",
}
# Of files named as until 2021, _t1ce, and as since 2023, -t1c, by what their case's name says.
OLD = ("brats_2018",)
NEW = {
    "GLI": ("brats_2023", "brats_2024"),
    "MET": ("brats_2023", "brats_2024"),
    "MEN": ("brats_2023",),
    "SSA": ("brats_2023",),
    "GOAT": ("brats_2023",),
    "PED": ("brats_2023", "brats_ped_2024"),
}
UNKNOWN = ("brats_2023", "brats_2024", "brats_ped_2024")

# The first that matches counts: "non-enhancing FLAIR hyperintensity" is oedema.
_WORDS = (
    ("cavity", r"cavity|\brc\b"),
    ("cyst", r"cyst|\bcc\b"),
    ("oedema", r"edema|hyperintens|\bsnfh\b|\bed\b"),
    ("core", r"\bnon ?enhanc|necro|\bncr\b|\bnet\b|\bnetc\b|\bnec\b|\bnc\b"),
    ("enhancing", r"enhanc|\bet\b"),
)
_UNIONS = (("whole", r"\bwhole|\bwt\b"), ("core", r"\bcore\b|\btc\b"))


def regions_of(edition: str) -> dict[str, tuple[int, ...]]:
    """The regions that an edition scores, by their labels.

    Whole tumour, core (all of it but the oedema) and enhancing tumour; beside them the resection
    cavity, which belongs to none of these, and cysts, where the edition has labels for them.
    """
    tissues = EDITIONS[edition]
    parts = {
        "whole": ("core", "oedema", "enhancing", "cyst"),
        "core": ("core", "enhancing", "cyst"),
        "enhancing": ("enhancing",),
        "cavity": ("cavity",),
        "cyst": ("cyst",),
    }
    found = {
        region: tuple(label for label, tissue in tissues.items() if tissue in made_of)
        for region, made_of in parts.items()
    }
    return {region: labels for region, labels in found.items() if labels}


def tissue_of(name: str) -> str:
    """Which of `TISSUES` a label's name means, "" where that can't be told."""
    words = _plain(name)
    return next((tissue for tissue, known in _WORDS if re.search(known, words)), "")


def contradiction(
    edition: str,
    labels: Collection[int],
    names: Mapping[int, str],
    unions: Mapping[str, Collection[int]],
) -> str:
    """Why masks can't be of that edition, as the end of a sentence; "" where they can.

    Args:
        edition: one of `EDITIONS`.
        labels: that occur in the masks, without the background and what is ignored.
        names: what the source calls labels.
        unions: labels of the regions that the source declares, by their names.
    """
    tissues = EDITIONS[edition]
    strangers = sorted({*labels} - tissues.keys())
    if strangers:
        return f"has no label {listed(strangers)}, which the masks hold"
    for label, name in names.items():
        meant = tissue_of(name)
        if meant and tissues.get(label, meant) != meant:
            return f"has {label} for {TISSUES[tissues[label]]}, which the source calls {name!r}"
    known = regions_of(edition)
    for name, declared in unions.items():
        words = _plain(name)
        region = next((region for region, word in _UNIONS if re.search(word, words)), "")
        if len(declared) > 1 and region and {*declared} != {*known[region]}:
            return (
                f"makes the region {region!r} of {listed(known[region])}, and the source "
                f"{name!r} of {listed(sorted(declared))}"
            )
    return ""


def by_name(case: str, suffixes: Collection[str]) -> tuple[str, ...]:
    """The editions that a case may be of, as its files are named.

    Args:
        case: e.g. "BraTS-GLI-00001-100".
        suffixes: of its files, e.g. "t1ce" or "t1c".
    """
    found = re.search(r"BraTS-?(?:20\d\d-?)?([A-Za-z]+)", case, re.IGNORECASE)
    if found and found[1].upper() in NEW:
        return NEW[found[1].upper()]
    return OLD if {*suffixes} & {"t1", "t1ce", "t2", "flair"} else UNKNOWN


def told_by(declared: Declared, present: Mapping[str, Collection[int]]) -> str:
    """The edition that all masks are of, by the names of files, or else of labels.

    Args:
        declared: what the source says.
        present: case -> the labels of its mask, as of `contradiction`.

    Raises:
        UserError: none fits, or several that mean different things.
    """
    if not declared.editions:
        labels = sorted(set().union(*present.values()))
        meant = [tissue_of(name) for name in declared.names.values()]
        fitting = [
            each
            for each in EDITIONS
            if not contradiction(each, labels, declared.names, declared.regions)
        ]
        named = {label for label, name in declared.names.items() if tissue_of(name)}
        named |= {label for labels in declared.regions.values() for label in labels}
        if any(meant) and {*labels} <= named and fitting and agree(fitting, labels):
            return min(fitting, key=lambda each: len(EDITIONS[each].keys() ^ (named - {0})))
        raise UserError(_ambiguous("neither the files nor the labels are named as of one", fitting))
    groups: dict[tuple[str, ...], set[int]] = {}
    for case, labels in present.items():
        groups.setdefault(declared.editions.get(case, tuple(EDITIONS)), set()).update(labels)
    chosen = {}
    for candidates, labels in groups.items():
        if not labels:
            continue  # empty masks have no numbering
        fitting = [each for each in candidates if labels <= EDITIONS[each].keys()]
        if not fitting:
            raise UserError(
                f"the files are named as of {' or '.join(candidates)}, but the masks hold the "
                f"labels {listed(sorted(labels))}; expected config.regions.preset to say what they "
                "mean, or config.regions.define",
                knob="regions.preset",
            )
        # Without the label that they are known by, names of several editions tell too little.
        enhancing = {n for each in fitting for n, t in EDITIONS[each].items() if t == "enhancing"}
        if len(candidates) > 1 and not (agree(fitting, labels) and labels & enhancing):
            raise UserError(
                _ambiguous(f"the masks hold the labels {listed(sorted(labels))}", fitting)
            )
        chosen[fitting[0]] = chosen.get(fitting[0], set()) | labels
    whole = set().union(*chosen.values())
    one = next((each for each in chosen if whole <= EDITIONS[each].keys()), None)
    if one is None or not all(agree((one, each), of) for each, of in chosen.items()):
        raise UserError(
            "config.regions.preset=brats can't tell the edition of BraTS: the cohort mixes files "
            f"of {' and '.join(chosen)}, whose labels mean different things; expected a cohort of "
            "one edition, own regions in config.regions.define, or none"
        )
    return one


def _ambiguous(why: str, fitting: Sequence[str]) -> str:
    return (
        f"config.regions.preset=brats can't tell the edition of BraTS: {why}; expected one of "
        f"{', '.join(fitting or EDITIONS)} as config.regions.preset, own ones in "
        "config.regions.define, or none"
    )


def refuse_contradicted(
    edition: str, preset: str, labels: Collection[int], declared: Declared
) -> None:
    """Raises UserError where masks or names contradict an edition, with those that would fit.

    Args:
        edition: one of `EDITIONS`.
        preset: by which it was chosen, itself or as "brats".
        labels: as of `contradiction`.
        declared: what the source says.
    """
    why = contradiction(edition, labels, declared.names, declared.regions)
    if why:
        given = "" if preset == edition else f", which the files are named as ({edition})"
        fitting = [
            each
            for each in EDITIONS
            if not contradiction(each, labels, declared.names, declared.regions)
        ]
        named = {each for editions in declared.editions.values() for each in editions}
        fitting = [each for each in fitting if not named or each in named]
        raise UserError(
            f"config.regions.preset is {preset!r}{given}: it {why}; expected "
            f"{' or '.join((*fitting, 'own regions in config.regions.define'))}",
            knob="regions.preset",
        )


def refuse_named(
    edition: str, preset: str, present: Mapping[str, Collection[int]], declared: Declared
) -> None:
    """Raises UserError where a case is named as of an edition in which its labels mean otherwise.

    Args:
        edition: one of `EDITIONS`.
        preset: by which it was chosen, itself or as "brats".
        present: case -> the labels of its mask, as of `contradiction`.
        declared: what the source says.
    """
    for case, labels in present.items():
        own = declared.editions.get(case, ())
        fitting = [each for each in own if {*labels} <= EDITIONS[each].keys()]
        if fitting and not any(agree((edition, each), labels) for each in fitting):
            raise UserError(
                f"config.regions.preset is {preset!r}, but case {case!r} is named as of "
                f"{' or '.join(fitting)}, where label {listed(sorted(labels))} means otherwise; "
                "expected that edition, or own regions in config.regions.define",
                knob="regions.preset",
            )


def agree(editions: Sequence[str], labels: Collection[int]) -> bool:
    """Whether all of those editions mean the same by these labels."""
    meanings = {tuple(map(EDITIONS[each].get, sorted(labels))) for each in editions}
    return len(meanings) < 2


def listed(labels: Collection[int]) -> str:
    """Labels in a sentence."""
    if not labels:
        return "none"
    *before, last = map(str, labels)
    return f"{', '.join(before)} and {last}" if before else last


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", name.casefold()).strip()
