"""Sentences whose names are replaced on the way from a leaf to the command line."""

import importlib
import pickle

import pytest

from rubik_jax.errors import ArgumentError, UserError, fill, knobs, members_of
from rubik_jax.modes.opening import window_of
from rubik_jax.modes.training import _optimiser_and_pace


def test_a_leaf_names_its_arguments_and_is_a_value_error():
    error = ArgumentError("ratio", "is 2; expected 0 to 1")
    assert isinstance(error, ValueError) and error.argument == "ratio"
    assert str(error) == "ratio is 2; expected 0 to 1"
    error = ArgumentError.of("{jitter} {} is larger than {gap} {:g}", (2, 0, 0), 1.0)
    assert str(error) == "jitter (2, 0, 0) is larger than gap 1"
    assert error.argument == "jitter"


def test_names_become_knobs_where_the_config_is_known():
    with (
        pytest.raises(UserError) as caught,
        knobs(proxy_options="proxy"),
        members_of("proxy_options", window="window"),
    ):
        raise ArgumentError.of("{block} {} is larger than {window} {}", 9, 8)
    assert str(caught.value) == "config.proxy.block 9 is larger than config.window 8"
    assert caught.value.knob == "proxy.block"
    with (
        pytest.raises(UserError, match=r"^config\.optim\.encoder\.freeze .* config\.steps$"),
        knobs("optim", steps="steps"),
        members_of("encoder", steps="steps"),
    ):
        raise ArgumentError.of("{freeze} is beyond {steps}")


def test_members_of_one_mapping_keep_their_own_names():
    with pytest.raises(ArgumentError) as caught, members_of("model"), members_of(name="head"):
        raise ArgumentError("name", "is 'fpn'")
    assert (str(caught.value), caught.value.argument) == ("model.head is 'fpn'", "model.head")
    with (
        pytest.raises(UserError, match=r"^config\.augment\.flip is"),
        knobs(augmentation="augment"),
        members_of("augmentation"),
    ):
        raise ArgumentError("flip", "is 1")


@pytest.mark.parametrize("value", ["{gap}", "gap", "config.proxy.gap ", "{", "\n"])
def test_a_value_is_never_taken_for_a_name(value):
    with pytest.raises(UserError) as caught, knobs("proxy"):
        raise ArgumentError.of("{turns} is {}", value)
    assert str(caught.value) == f"config.proxy.turns is {value}"
    assert str(caught.value.renamed("pretrain.{}".format)) == (
        f"config.pretrain.proxy.turns is {value}"
    )


def test_templates_are_held_to_their_values():
    with pytest.raises(TypeError, match="more values"):
        fill("{x} is {}", 1, 2)
    with pytest.raises(IndexError):
        fill("{x} is {} and {}", 1)


def test_other_exceptions_pass():
    with pytest.raises(ValueError, match=r"^bad$"), knobs("proxy"), members_of("x"):
        raise ValueError("bad")


def test_a_sentence_that_begins_with_its_knob_can_be_renamed():
    error = UserError("config.seed is -1; expected 0 to 9", knob="seed")
    assert str(error) == "config.seed is -1; expected 0 to 9"
    assert str(error.renamed(lambda _: "seeds")) == "config.seeds is -1; expected 0 to 9"
    other = UserError("config.seeds are many", knob="seed")
    assert str(other.renamed(lambda _: "x")) == "config.seeds are many"
    plain = UserError("case 'a' is damaged")
    assert (plain.knob, str(plain.renamed(lambda _: "seeds"))) == ("", "case 'a' is damaged")


@pytest.mark.parametrize(
    "error",
    [
        UserError("plain"),
        UserError("config.seed is -1", knob="seed"),
        UserError.of("{seed} is {}", -1),
        ArgumentError("seed", "is -1"),
        ArgumentError.of("for {seed} {}", -1),
    ],
)
def test_errors_come_whole_from_another_process(error):
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.parts) == (type(error), str(error), error.parts)
    assert str(copy.renamed("x.{}".format)) == str(error.renamed("x.{}".format))


@pytest.mark.parametrize(
    ("task", "knob", "value", "said"),
    [
        ("pretrain", "proxy.jitter", (9, 0, 0), r"\(9, 0, 0\) is larger than config\.proxy\.gap"),
        ("pretrain", "proxy.num_orders", 1, r"is 1, .* \(or config\.proxy\.orders=none\)"),
        ("pretrain", "model.encoder.norm", "layer", "is 'layer'; expected"),
        ("pretrain", "loss.reduction", "max", "is 'max'; expected"),
        ("reconstruct", "proxy.ratio", 1.0, r"is 1\.0, .* by it or by config\.proxy\.block$"),
        ("contrast", "model.hidden", 0, "is 0; expected at least 1"),
        ("restore", "augment.affine", 2.0, r"is 2\.0; expected 0 to 1"),
        ("restore", "model.convs", 0, "is 0; expected at least 1"),
        ("segment", "inference.mirror", (3,), r"is \(3,\): expected axes"),
        ("segment", "batch_size", 0, r"is 0; expected .* x config\.accumulate"),
        ("segment", "optim.warmup", 10**9, r"is 1000000000; .* config\.steps \("),
        ("segment", "optim.encoder.freeze", 10**9, r"is .* config\.optim\.encoder\.rate=0"),
        ("segment", "every.log", 0, r"is 0; expected a multiple of config\.steps_per_call"),
    ],
)
def test_leaves_speak_of_knobs_where_a_config_is_read(task, knob, value, said):
    config = importlib.import_module(f"configs.{task}").get_config("debug")
    with config.ignore_type():
        config.update_from_flattened_dict({knob: value})
    with pytest.raises(UserError, match=rf"^config\.{knob} {said}") as caught:
        window_of(config)
        _optimiser_and_pace(config)
    assert caught.value.knob == knob
    assert isinstance(caught.value.__cause__, ArgumentError)
