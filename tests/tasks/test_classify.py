"""Classification: its loss, its numbers, and that an example's dropout is its own."""

import jax.numpy as jnp
import numpy as np
import pytest

from rubik_jax.errors import ArgumentError
from rubik_jax.tasks.classes import class_weights
from rubik_jax.tasks.classify import classify, diagnose, score, show
from tests.tasks.supervised import ENCODER, STILL, compiled, keys, variables

WINDOW = (4, 4, 4)


def make(dropout=0.0, smoothing=0.0, classes=("a", "b", "c"), **loss):
    task = classify(
        channels=2,
        classes=classes,
        frequencies=(1 / len(classes),) * len(classes),
        window=WINDOW,
        model={"encoder": ENCODER, "scaling": "cube", "dropout": dropout},
        loss={"smoothing": smoothing, "class_weights": (), "balanced": False} | loss,
        augmentation=STILL,
    )
    return compiled(task)


def batch(count=6):
    rng = np.random.default_rng(1)
    return {
        "window": jnp.asarray(rng.random((count, *WINDOW, 2)), jnp.float16),
        "target": jnp.asarray(rng.integers(0, 3, count), jnp.int32),
        "weight": jnp.ones(count),
    }


def test_loss_and_accuracy_are_those_of_the_answers():
    task, given = make(), batch()
    held = variables(task)
    shares = np.asarray(task.respond(held, given["window"]))
    loss, (_, report) = task.loss(held, given, keys(6), 0)
    np.testing.assert_allclose(
        loss, -np.log(shares[np.arange(6), given["target"]]).mean(), rtol=1e-4
    )
    right = shares.argmax(axis=1) == given["target"]
    np.testing.assert_allclose(report["accuracy"].value, right.mean())
    numbers = task.summarise(task.evaluate(held, given, keys(6)))
    np.testing.assert_allclose(numbers["accuracy"], right.mean())
    recalls = [right[given["target"] == k].mean() for k in np.unique(given["target"])]
    np.testing.assert_allclose(numbers["balanced_accuracy"], np.mean(recalls), rtol=1e-6)
    assert numbers["examples"] == 6
    assert np.isclose(numbers["chance"], 1 / len(recalls)) and len(recalls) < 3  # of those there


def test_dropout_is_each_examples_own():
    """The same whoever shares the batch, and none where nobody trains."""
    task, given = make(dropout=0.5), batch()
    held = variables(task)
    own = [
        task.loss(
            held, {name: each[i : i + 1] for name, each in given.items()}, keys(6)[i : i + 1], 0
        )[0]
        for i in range(6)
    ]
    np.testing.assert_allclose(task.loss(held, given, keys(6), 0)[0], np.mean(own), rtol=1e-5)
    rest = task.respond(held, given["window"])
    np.testing.assert_allclose(rest, make().respond(held, given["window"]))
    assert not np.isclose(
        task.loss(held, given, keys(6), 0)[0], make().loss(held, given, keys(6), 0)[0]
    )


def test_smoothing_asks_for_less_certainty():
    held = variables(make())
    held["params"]["head"]["bias"] = jnp.array([9.0, 0.0, 0.0])
    sure = batch() | {"target": jnp.zeros(6, jnp.int32)}
    assert (
        make(smoothing=0.1).loss(held, sure, keys(6), 0)[0] > make().loss(held, sure, keys(6), 0)[0]
    )


def test_the_lower_loss_breaks_ties_and_nothing_else():
    even = {"balanced_accuracy": 0.5, "loss": 0.4}
    assert score(even) > score(even | {"loss": 0.9})
    assert score({"balanced_accuracy": 0.6, "loss": 5.0}) > score(even)


def test_a_line_leaves_out_what_is_not_known():
    assert show({"accuracy": 0.5, "auc": float("nan")}) == "accuracy 50.0%"
    assert show({"accuracy": 0.5, "auc": 0.75, "chance": 0.25}).endswith("AUC 0.750 (chance 25.0%)")


def test_a_line_names_the_classes_that_no_case_has():
    numbers = {"accuracy": 1.0, "auc": float("nan"), "chance": 1.0, "absent": ["rare"]}
    assert show(numbers) == "accuracy 100.0% (chance 100.0%, no case of 'rare')"
    absent = {"absent": [*"abcde"]}
    assert show(numbers | absent).endswith("no case of 'a', 'b', 'c' and 2 more)")
    assert show(numbers | {"absent": []}) == "accuracy 100.0% (chance 100.0%)"


def test_cases_of_one_class_alone_are_named_as_telling_nothing():
    assert "of one class" in diagnose({"top": 1.0, "majority": 1.0})[0]


def test_a_network_of_one_answer_is_named():
    assert "one answer 99%" in diagnose({"top": 0.99, "majority": 0.5})[0]
    assert not diagnose({"top": 0.99, "majority": 0.99})
    assert not diagnose({"top": 0.6, "majority": 0.5})


def test_weights_keep_the_size_of_the_loss():
    shares = (0.7, 0.2, 0.1)
    for weights in (
        class_weights((), False, shares),
        class_weights((3.0, 1.0, 9.0), False, shares),
        class_weights((), True, shares),
    ):
        np.testing.assert_allclose(np.dot(weights, shares), 1, rtol=1e-5)
    balanced = class_weights((), True, shares)
    np.testing.assert_allclose(balanced * np.array(shares), 1 / 3, rtol=1e-5)
    assert class_weights((), True, (0.5, 0.5, 0.0))[2] == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"smoothing": 1.0}, "^loss.smoothing is 1.0"),
        ({"dropout": -0.1}, "^model.dropout is -0.1"),
        ({"class_weights": (0.0, 0.0, 0.0)}, "^loss.class_weights is"),
    ],
)
def test_what_cannot_be_is_refused(change, said):
    with pytest.raises(ArgumentError, match=said):
        make(**change)
