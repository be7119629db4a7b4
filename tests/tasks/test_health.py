"""What the histograms of a head say of its health."""

import numpy as np
import pytest

from rubik_jax.tasks.health import asked, diagnose, score, summarise
from rubik_jax.types import Mean

EXAMPLES, CUBES = 40.0, 8


def mean(value, count=EXAMPLES):
    value = np.asarray(value, float)
    return Mean(value * count, np.float64(count))


def totals(order=0.9, orientation=0.9, order_said=None, turn_said=None, **others):
    """Totals over a cohort with 10 orders and half turns, each true equally often."""
    fair, turns = np.full(10, 0.1), np.full(4, 0.25)
    return {
        "loss": mean(1.5),
        "order_accuracy": mean(order),
        "turn_accuracy": mean(0.8),
        "orientation_accuracy": mean(orientation),
        "order_said": mean(fair if order_said is None else order_said),
        "order_truth": mean(fair),
        "turn_said": mean(turns if turn_said is None else turn_said, EXAMPLES * CUBES),
        "turn_truth": mean(turns, EXAMPLES * CUBES),
        **others,
    }


def masks(said, truth):
    both = {"mask_said": said, "mask_truth": truth}
    return {name: mean([1 - share, share], EXAMPLES * CUBES) for name, share in both.items()}


def test_accuracies_stand_beside_chance_majority_and_the_commonest_answer():
    found = totals(
        order_said=[0.55] + [0.05] * 9,
        turn_said=[0.1, 0.2, 0.3, 0.4],
        turn_truth=mean([0.1, 0.6, 0.1, 0.2], EXAMPLES * CUBES),
        order_truth=mean([0.28] + [0.08] * 9),
    )
    numbers = summarise(found)
    assert numbers["loss"] == pytest.approx(1.5)
    assert numbers["examples"] == EXAMPLES
    expected = {
        "order_accuracy": 0.9,
        "order_chance": 0.1,
        "order_majority": 0.28,
        "order_top": 0.55,
        "order_answers": EXAMPLES,
        "turn_chance": 0.25,
        "turn_majority": 0.6,
        "turn_top": 0.4,
        # Horizontal is odd: said 0.6, true 0.8. Vertical is 2 or 3: said 0.7, true 0.3.
        "orientation_chance": 0.5,
        "orientation_majority": 0.75,
        "orientation_top": 0.7,
        "orientation_answers": 2 * CUBES * EXAMPLES,
    }
    assert {name: numbers[name] for name in expected} == pytest.approx(expected)


def test_the_score_is_the_mean_of_what_is_asked():
    numbers = summarise(totals(order=0.6, orientation=0.8))
    assert asked(numbers) == ["order", "orientation"]
    assert score(numbers) == pytest.approx(0.7)
    numbers = summarise(totals(0.6, 0.8, mask_accuracy=mean(1.0), **masks(0.5, 0.5)))
    assert asked(numbers) == ["order", "orientation", "mask"]
    assert score(numbers) == pytest.approx(0.8)
    of_24 = {name: value for name, value in totals().items() if "orientation" not in name}
    assert asked(summarise(of_24)) == ["order", "turn"]


def test_a_healthy_run_is_passed_in_silence():
    assert diagnose(summarise(totals())) == []
    mask = {"mask_accuracy": mean(0.9), **masks(0.5, 0.5)}
    assert diagnose(summarise(totals(order=0.5, orientation=0.62, **mask))) == []


@pytest.mark.parametrize(
    ("found", "sentences"),
    [
        (totals(order=0.12), ["order head sits at chance: 12.0% beside 10.0%"]),
        (totals(orientation=0.53), ["orientation head sits at chance: 53.0% beside 50.0%"]),
        (totals(order=0.05, orientation=0.5), ["order head sits", "orientation head sits"]),
        (
            totals(order=0.1, order_said=[0.95, 0.05] + [0] * 8),
            ["order head has collapsed: it gives one answer 95% of the time"],
        ),
        # Never turned horizontally, while vertical turns are told.
        (totals(orientation=0.74, turn_said=[0.5, 0, 0.5, 0]), ["orientation head has collapsed"]),
        (totals(mask_accuracy=mean(0.5), **masks(0.5, 0.5)), ["mask head sits at chance"]),
        (totals(mask_accuracy=mean(0.7), **masks(0, 0.3)), ["mask head has collapsed"]),
    ],
)
def test_chance_and_collapse_are_told_with_what_to_try(found, sentences):
    warnings = diagnose(summarise(found))
    assert len(warnings) == len(sentences)
    for warning, sentence in zip(warnings, sentences, strict=True):
        assert sentence in warning
        assert "; try " in warning
        assert "config." in warning


def test_a_truth_that_is_always_the_same_may_be_answered_so():
    said = {"mask_accuracy": mean(0.97), **masks(0.02, 0.03)}
    assert diagnose(summarise(totals(**said))) == []
