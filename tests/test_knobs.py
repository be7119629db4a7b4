"""A config is held against the shipped one: names, kinds and ranges."""

import pytest

from configs import pretrain
from rubik_jax import knobs
from rubik_jax.errors import UserError


def shipped() -> dict:
    return pretrain.get_config().to_dict()


def test_every_shipped_config_passes():
    for cohort in pretrain.COHORTS:
        for more in ("", ",debug", ",heads=joint", ",net=resnet"):
            knobs.check(pretrain.get_config(f"cohort={cohort}{more}").to_dict(), shipped(), "x")


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("optim", "rate", -1.0),
        ("optim", "rate", float("nan")),
        ("optim", "momentum", 1.5),
        ("optim", "drops", ("a",)),
        ("data", "modalities", 7),
        ("data", "resident", 1),
        ("data", "path", 7),
        ("proxy", "cube", (1.5, 2, 2)),
        ("proxy", "masking", "half"),
        ("every", "log", True),
        ("evaluate", "repeats", 0),
        ("loss", "delta", 0.5),
    ],
)
def test_a_bad_value_is_named(section, name, value):
    given = shipped()
    given[section][name] = value
    with pytest.raises(UserError, match=rf"config\.{section}\.{name} is"):
        knobs.check(given, shipped(), "pretrain")


def test_a_missing_knob_is_named():
    given = shipped()
    del given["steps"]
    with pytest.raises(UserError, match=r"config\.steps is missing; .*configs/pretrain\.py"):
        knobs.check(given, shipped(), "pretrain")


def test_lists_of_a_stored_config_stand_for_tuples():
    given = shipped()
    given["proxy"]["cube"] = list(given["proxy"]["cube"])
    given["model"]["encoder"]["strides"] = [[1, 1, 1], [2, 2, 2]]
    knobs.check(given, shipped(), "pretrain")
