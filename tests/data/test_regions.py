"""Which labels make a region follows from a declared numbering, and never from a guess."""

import numpy as np
import pytest

from rubik_jax.data import editions, regions
from rubik_jax.data.declaration import Declared
from rubik_jax.data.editions import EDITIONS, regions_of
from rubik_jax.data.regions import paint, resolve
from rubik_jax.errors import UserError

PUBLISHED = {  # whole tumour, core, enhancing, as the challenges' own evaluations have them
    "brats_2015": ((1, 2, 3, 4), (1, 3, 4), (4,)),
    "brats_2018": ((1, 2, 4), (1, 4), (4,)),
    "brats_2023": ((1, 2, 3), (1, 3), (3,)),
    "brats_2024": ((1, 2, 3), (1, 3), (3,)),
    "brats_ped_2024": ((1, 2, 3, 4), (1, 2, 3), (1,)),
    "decathlon": ((1, 2, 3), (2, 3), (3,)),
}
TASK01 = {0: "background", 1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumour"}


def found(labels=(1, 2, 3), names=None, declared=None, **knobs):
    """The regions of a cohort of one case, or of cases by their names."""
    present = labels if isinstance(labels, dict) else {"x": {*labels}}
    declared = declared or Declared(names=names or {})
    if names and isinstance(labels, dict):
        declared = Declared(editions={c: editions.by_name(c, names[c]) for c in labels})
    values = sorted({0}.union(*present.values()))
    usual = {"preset": "source", "define": (), "order": (), "train": False}
    return resolve(**usual | knobs, declared=declared, present=present, values=values)[0]


def named(labels, case="BraTS-GLI-00001-000", suffix="t1c", **knobs):
    return found({case: {*labels}}, {case: [suffix]}, **{"preset": "brats"} | knobs)


@pytest.mark.parametrize("edition", EDITIONS)
def test_each_edition_has_the_regions_that_its_challenge_scores(edition):
    made = regions_of(edition)
    assert tuple(made[name] for name in ("whole", "core", "enhancing")) == PUBLISHED[edition]
    assert found(tuple(EDITIONS[edition]), preset=edition).labels == made


@pytest.mark.parametrize(
    ("case", "suffix", "labels", "edition"),
    [
        ("Brats18_TCIA_000_1", "t1ce", (1, 2, 4), "brats_2018"),
        ("BraTS2021_00000", "flair", (1, 2), "brats_2018"),
        ("BraTS-GLI-00000-000", "t1c", (1, 2, 3), "brats_2023"),
        ("BraTS-GLI-00000-100", "t2f", (1, 2, 3, 4), "brats_2024"),
        ("BraTS-MET-00000-100", "t1n", (2, 3, 4), "brats_2024"),
        ("BraTS-MEN-00000-000", "t1n", (2, 3), "brats_2023"),
        ("BraTS-SSA-00000-000", "t1", (1, 2, 3), "brats_2023"),
        ("BraTS-PED-00000-000", "t1c", (1, 2, 4), "brats_ped_2024"),
    ],
)
def test_the_edition_follows_from_names_and_labels(case, suffix, labels, edition):
    assert named(labels, case, suffix).edition == edition


@pytest.mark.parametrize(
    ("case", "suffix", "labels", "said"),
    [
        ("Brats18_TCIA_000_1", "t1ce", (1, 2, 3), "brats_2018, but the masks hold .*1, 2 and 3"),
        ("BraTS-MEN-00000-000", "t1c", (1, 2, 3, 4), "brats_2023, but the masks hold"),
        ("BraTS-GLI-00000-000", "t1c", (1, 2, 4), "can't tell .*brats_2024"),
        ("BraTS-GLI-00000-000", "t1c", (1, 2), "can't tell"),
        ("BraTS-PED-00000-000", "t1c", (1, 2, 3), "brats_2023, brats_ped_2024 as"),
        ("own-01", "t1c", (1, 2, 3), "can't tell"),
    ],
)
def test_what_names_and_labels_leave_open_is_refused(case, suffix, labels, said):
    with pytest.raises(UserError, match=said):
        named(labels, case, suffix)


def test_files_of_two_numberings_in_one_cohort_are_refused():
    cohort = {"Brats18_A_1": {1, 2, 4}, "BraTS-GLI-00001-000": {1, 2, 3}}
    suffixes = {"Brats18_A_1": ["t1"], "BraTS-GLI-00001-000": ["t1n"]}
    with pytest.raises(UserError, match="mixes files of brats_2018 and brats_2023"):
        found(cohort, suffixes, preset="brats")
    both = {"BraTS-MEN-1": {1, 2, 3}, "BraTS-GLI-1": {1, 2, 3, 4}}
    both["BraTS-MET-1"] = set()
    assert found(both, {case: ["t1n"] for case in both}, preset="brats").edition == "brats_2024"
    with pytest.raises(UserError, match="can't tell"):
        named(())


def test_a_preset_that_the_names_of_files_contradict_is_refused():
    glis, peds = ([f"BraTS-{kind}-{n:05d}-000" for n in range(3)] for kind in ("GLI", "PED"))
    mixed = {case: (1, 2, 3, 4) for case in (*glis, *peds)}
    names = {case: ["t1n"] for case in mixed}
    for preset, case in (("brats_2024", peds[0]), ("brats_ped_2024", glis[0])):
        with pytest.raises(UserError, match=f"{preset}.*, but case '{case}' is named as of"):
            found(mixed, names, preset=preset)
    with pytest.raises(UserError, match=r"mixes files of .*; expected a cohort of one edition"):
        found(mixed, names, preset="brats")


def test_an_edition_of_the_labels_that_are_named_is_chosen():
    names = {1: "NCR/NET", 2: "ED", 4: "ET"}
    assert found((1, 2, 4), names=names, preset="brats").edition == "brats_2018"


def test_names_of_labels_tell_the_edition_and_contradict_another():
    assert found(names=TASK01, preset="brats").labels["core"] == (2, 3)
    for wrong in ("brats_2023", "brats_ped_2024"):
        with pytest.raises(UserError, match=r"calls 'edema'; expected decathlon"):
            found(names=TASK01, preset=wrong)
    with pytest.raises(UserError, match="neither the files nor the labels"):
        found(preset="brats")
    with pytest.raises(UserError, match="neither the files nor the labels"):
        found(names={1: "a", 2: "b", 3: "c"}, preset="brats")
    with pytest.raises(UserError, match=r"makes the region 'core' of 1 and 3, .*'tumor core' of 2"):
        converted = Declared(regions={"whole tumor": (1, 2, 3), "tumor core": (2, 3)})
        found(declared=converted, preset="brats_2023")


@pytest.mark.parametrize(
    ("preset", "labels"),
    [("brats_2018", (1, 2, 3)), ("brats_2023", (1, 2, 3, 4)), ("decathlon", (1, 4))],
)
def test_a_preset_that_the_masks_contradict_is_refused(preset, labels):
    with pytest.raises(UserError, match=f"{preset}.* has no label .*, which the masks hold"):
        found(labels, preset=preset)


def test_absence_is_no_contradiction_but_is_noted():
    _, notes = resolve(
        preset="brats_2018",
        define=(),
        order=(),
        train=False,
        declared=Declared(),
        present={"x": {1, 2}},
        values=(0, 1, 2),
    )
    assert notes == ["no mask holds label 4, enhancing tumour in brats_2018"]


@pytest.mark.parametrize(
    ("name", "tissue"),
    [
        ("Non-enhancing FLAIR hyperintensity", "oedema"),
        ("peritumoral_edema", "oedema"),
        ("NCR/NET", "core"),
        ("nonenhancing tumour core", "core"),
        ("GD-enhancing tumor", "enhancing"),
        ("ET", "enhancing"),
        ("resection cavity", "cavity"),
        ("liver", ""),
    ],
)
def test_names_mean_tissues(name, tissue):
    assert editions.tissue_of(name) == tissue


def test_own_regions_go_by_number_or_name():
    define = (("rim", ("Edema", 3)), ("core", (2, 3)))
    assert found(names=TASK01, define=define).labels == {"rim": (1, 3), "core": (2, 3)}
    for wrong, said in [
        ((("a", ("oedema",)),), "makes 'a' of 'oedema'; expected a number, or .*'edema'"),
        ((("a", (7, 8)),), r"makes 'a' of \(7, 8\)"),
        ((("a", (0, 1)),), r"makes 'a' of \(0, 1\)"),
        ((("a", ()),), "config.regions.define holds"),
        ((("a", 1),), "config.regions.define holds"),
        ((("a", (1,)), ("a", (2,))), "each once"),
        ((("1", (1, 2)),), "is called '1'"),
    ]:
        with pytest.raises(UserError, match=said):
            found(names=TASK01, define=wrong)
    with pytest.raises(UserError, match=r"config\.regions\.preset is 'lungs'"):
        found(preset="lungs")


def test_the_labels_that_are_painted_follow_from_regions_within_each_other():
    assert named((1, 2, 3, 4), train=True).order == (2, 1, 3, 4)
    assert found((1, 2, 3, 4), preset="brats_ped_2024", train=True).order == (*(4, 2, 1, 3),)
    source = Declared(regions={"all": (1, 2, 3), "core": (2, 3), "rim": (3,)}, order=(1, 2, 3))
    assert found(declared=source, train=True).order == (1, 2, 3)
    assert found(declared=source).order == ()
    for knobs, said in [
        ({"define": (("a", (1, 2)), ("b", (3,)))}, "which label is painted for the region 'a'"),
        ({"define": (("a", (1, 2)),)}, "label 3 is in no region"),
        ({"preset": "none"}, "gives no regions"),
        ({"preset": "brats_2023", "order": (1, 2)}, "has 2 labels for"),
        ({"preset": "brats_2023", "order": (2, 2, 3)}, "painted for the region 'core'"),
        ({"define": (("b", (3,)), ("a", (1, 3)), ("c", (2,)))}, "'a' is painted after 'b'"),
    ]:
        with pytest.raises(UserError, match=said):
            found(train=True, **knobs)
    with pytest.raises(UserError, match=r"config\.regions\.train=True beside it"):
        found(order=(1,))


@pytest.mark.parametrize("edition", ["brats_2018", "brats_2024", "brats_ped_2024", "decathlon"])
def test_painting_the_true_regions_gives_the_mask_back(edition):
    mask = np.random.default_rng(0).choice([0, *EDITIONS[edition]], (4, 5, 6))
    made = found(tuple(EDITIONS[edition]), preset=edition, train=True)
    inside = np.stack([np.isin(mask, labels) for labels in made.labels.values()], axis=-1)
    np.testing.assert_array_equal(paint(inside * 0.9, made.order), mask)


def test_a_checkpoint_tells_of_them():
    made = named((1, 2, 3, 4), train=True)
    assert regions.of_run(made.about()) == made
    assert regions.of_run({"values": [0, 1]}) == regions.NONE
