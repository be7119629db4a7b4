"""Segmentation: which voxels count, what is reported of them, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rubik_jax import losses, metrics
from rubik_jax.data.regions import Regions, paint
from rubik_jax.errors import ArgumentError
from rubik_jax.tasks.findings import diagnose
from rubik_jax.tasks.segment import decoder_sizes, outputs, segment
from tests.tasks.supervised import ENCODER, STILL, compiled, keys, variables

VALUES = (0, 2, 5)
MODEL = {"encoder": ENCODER, "scaling": "cube", "head": "duc", "convs": 0, "width": 0}
LOSS = {"cross_entropy": 1.0, "dice": 0.0, "class_weights": (), "balanced": False}
WINDOW = (4, 6, 3)


def make(loss=None, model=None, augmentation=None, frequencies=(0.5, 0.3, 0.2), **regions):
    task = segment(
        channels=1,
        values=VALUES,
        frequencies=frequencies,
        window=WINDOW,
        model=MODEL | (model or {}),
        loss=LOSS | (loss or {}),
        augmentation=STILL | (augmentation or {}),
        **regions,
    )
    return compiled(task)


def batch(count=3, labels=VALUES):
    rng = np.random.default_rng(1)
    return {
        "window": jnp.asarray(rng.random((count, *WINDOW, 1)), jnp.float16),
        "label": jnp.asarray(rng.choice(labels, (count, *WINDOW)), jnp.int16),
        "weight": jnp.ones(count),
    }


def test_loss_is_that_of_the_answers_to_the_window():
    task, given = make(), batch()
    held = variables(task)
    loss, (_, report) = task.loss(held, given, keys(3), 0)
    shares = task.respond(held, given["window"])
    truth = np.searchsorted(VALUES, given["label"])
    wanted = -jnp.log(jnp.take_along_axis(shares, truth[..., None], -1)).mean()
    np.testing.assert_allclose(loss, wanted, rtol=1e-4)
    np.testing.assert_allclose(report["loss"].value, loss, rtol=1e-5)
    np.testing.assert_allclose(shares.sum(axis=-1), 1, rtol=1e-5)


@pytest.mark.parametrize("nothing", [-1, 3, 9])
def test_voxels_without_a_known_label_count_nowhere(nothing):
    task, given = make(), batch()
    held = variables(task)
    seen = np.ones(given["label"].shape, bool)
    seen[:, :2] = False
    hidden = given | {"label": jnp.where(seen, given["label"], nothing)}
    shares = np.asarray(task.respond(held, given["window"]))
    truth = np.searchsorted(VALUES, given["label"])
    wanted = -np.log(np.take_along_axis(shares, truth[..., None], -1))[..., 0]
    loss = task.loss(held, hidden, keys(3), 0)[0]
    np.testing.assert_allclose(loss, wanted[seen].mean(), rtol=1e-4)
    totals = task.evaluate(held, hidden, keys(3))
    np.testing.assert_allclose(totals["truth_voxels"].total.sum(), seen.sum())


def test_numbers_are_those_of_all_windows_together():
    task, given = make(), batch()
    held = variables(task)
    numbers = task.summarise(task.evaluate(held, given, keys(3)))
    guess = np.array(VALUES)[np.asarray(task.respond(held, given["window"])).argmax(-1)]
    truth = np.asarray(given["label"])
    for value in VALUES:
        both = ((guess == value) & (truth == value)).sum()
        sizes = (guess == value).sum() + (truth == value).sum()
        np.testing.assert_allclose(numbers[f"dice_{value}"], 2 * both / sizes, rtol=1e-5)
        np.testing.assert_allclose(numbers[f"iou_{value}"], both / (sizes - both), rtol=1e-5)
    mean = np.mean([numbers["iou_2"], numbers["iou_5"]])
    np.testing.assert_allclose(numbers["foreground_miou"], mean)
    np.testing.assert_allclose(numbers["miou"], (2 * mean + numbers["iou_0"]) / 3)
    assert task.score(numbers) == numbers["foreground_dice"]


def test_fillers_weigh_nothing_and_parts_add_up():
    task, given = make(), batch(4)
    held = variables(task)
    whole = task.evaluate(held, {name: each[:3] for name, each in given.items()}, keys(3))
    weighted = given | {"weight": jnp.array([1.0, 1.0, 1.0, 0.0])}
    one, other = (
        task.evaluate(held, {name: each[part] for name, each in weighted.items()}, keys(2))
        for part in (slice(2), slice(2, 4))
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), whole, metrics.add(one, other)
    )


def test_rare_classes_weigh_more_where_that_is_asked_for():
    given = batch()
    rare = given | {"label": jnp.full_like(given["label"], 5)}
    mixed = jnp.concatenate([rare["label"][:, :1], jnp.zeros_like(given["label"][:, 1:])], axis=1)
    plain, balanced = make(), make({"balanced": True}, frequencies=(0.9, 0.05, 0.05))
    held = variables(plain)

    def share(task):
        """How much of the gradient on the bias comes from the rare class."""
        slope = jax.grad(lambda v: task.loss(v, given | {"label": mixed}, keys(3), 0)[0])(held)
        bias = slope["params"]["decoder"]["logits"]["dense"]["bias"].reshape(-1, 3).sum(axis=0)
        return abs(bias[2]) / abs(bias).sum()

    assert share(balanced) > share(plain)


def test_augmentation_moves_windows_with_their_labels():
    """Flips alone, of a network that answers voxel by voxel alike: the loss stays what it is."""
    loss = {"dice": 1.0}
    flat = ENCODER | {"widths": [4], "convs": [1], "strides": [[1, 1, 1]]}
    still, flipped = (
        make(loss, {"encoder": flat}, augmentation)
        for augmentation in ({}, {"flip": (True, True, True)})
    )
    held = variables(still)
    kernel = held["params"]["encoder"]["stage0_conv0"]["kernel"]
    symmetric = sum(
        jnp.flip(kernel, axes) for axes in ((), 0, 1, 2, (0, 1), (0, 2), (1, 2), (0, 1, 2))
    )
    held["params"]["encoder"]["stage0_conv0"]["kernel"] = symmetric
    given = batch(8)
    found = [task.loss(held, given, keys(8), 0)[0] for task in (still, flipped)]
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_one_step_down_the_gradient_lowers_the_loss():
    for head in ("duc", "unet"):
        task = make({"dice": 1.0}, {"head": head, "convs": 1})
        held, given = variables(task), batch()
        slope = jax.jit(jax.grad(lambda v, t=task, g=given: t.loss(v, g, keys(3), 0)[0]))(held)
        after = optax.apply_updates(held, jax.tree.map(lambda g: -0.01 * g, slope))
        assert task.loss(after, given, keys(3), 0)[0] < task.loss(held, given, keys(3), 0)[0]


def test_each_heads_new_parameters_are_those_that_it_makes():
    for head in ("duc", "unet"):
        model = MODEL | {"head": head, "convs": 1}
        task = make(model=model)
        made = jax.eval_shape(task.init, jax.random.key(0))["params"]["decoder"]
        size = sum(leaf.size for leaf in jax.tree.leaves(made))
        assert decoder_sizes(len(VALUES), 1, model)[head] == size


def shares(truth, answered, **dice):
    """Numbers of two labels by their shares of the voxels, in per cent."""
    counts = [np.array([100 - sum(of), *of]) for of in (truth, answered)]
    return metrics.voxel_shares(VALUES, *counts) | {"dice_2": 0.5, "dice_5": 0.1} | dict(dice)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (shares((2, 1), (0, 0), dice_2=0.0, dice_5=0.0), ["nothing but background"]),
        (shares((2, 1), (3, 0), dice_5=0.0), ["never answers label 5"]),
        (shares((2, 1), (1, 1), dice_2=0.0), ["answers label 2, but in no voxel"]),
        (shares((0, 1), (2, 1), dice_2=0.0), []),  # made up, but no label is lost
        (shares((0.1, 0), (46, 0), dice_2=0.004), ["46% of the voxels as foreground", "0.10%"]),
        (shares((0, 0), (46, 0), dice_2=0.0), ["hold no foreground", "labels 46% of the voxels"]),
        (shares((0, 0), (0, 0)), ["hold no foreground", "labels 0% of the voxels"]),
        (shares((2, 1), (3, 1)), []),
    ],
)
def test_a_diagnosis_is_of_what_is_answered(numbers, said):
    found = diagnose(numbers, VALUES)
    assert len(found) == bool(said) and all(word in found[0] for word in said), found
    if found and numbers["answered_share_0"] == 0.54:
        assert "lower config.data.foreground" in found[0]
        assert "larger config.optim.rate" not in found[0] and "balanced=True" not in found[0]


def test_windows_without_foreground_have_no_dice_and_best_goes_by_the_loss():
    task, given = make(), batch(labels=(0,))
    totals = task.evaluate(variables(task), given, keys(3))
    numbers = task.summarise(totals)
    assert numbers["truth_share_0"] == 1 and task.score(numbers) == -numbers["loss"]
    only = np.arange(3) == 0  # as if background were all that was answered
    nothing = task.summarise(
        {
            name: each if np.ndim(each.total) == 0 else each._replace(total=each.total * only)
            for name, each in totals.items()
        }
    )
    assert np.isnan(nothing["foreground_dice"]) and np.isnan(nothing["dice_5"])
    assert "Dice –" in task.show(nothing)


NESTED = Regions({"both": (2, 5), "inner": (5,)}, order=(2, 5))


def test_regions_are_learned_by_a_sigmoid_each_and_scored_by_the_labels_they_paint():
    task, given = make({"dice": 1.0}, regions=NESTED, ignore=9), batch(labels=(*VALUES, 9))
    held = variables(task)
    answers = np.asarray(task.respond(held, given["window"]))
    assert answers.shape[-1] == outputs(task.about) == 2
    label = np.asarray(given["label"])
    known = label != 9
    inside = np.stack([np.isin(label, of) for of in NESTED.labels.values()], axis=-1)
    logits = np.log(answers / (1 - answers))
    parts = [
        loss(jnp.asarray(logits), jnp.asarray(inside), jnp.asarray(known)).mean()
        for loss in (losses.region_cross_entropy, losses.region_dice_loss)
    ]
    np.testing.assert_allclose(task.loss(held, given, keys(3), 0)[0], sum(parts), rtol=1e-4)
    numbers = task.summarise(task.evaluate(held, given, keys(3)))
    guess = paint(answers, NESTED.order)
    for name, of in {**NESTED.labels, "2": (2,), "5": (5,)}.items():
        there, said = np.isin(label, of), np.isin(guess, of) & known
        dice = 2 * (there & said).sum() / (there.sum() + said.sum())
        np.testing.assert_allclose(numbers[f"dice_{name}"], dice, rtol=1e-5)
    assert task.score(numbers) == np.mean([numbers["dice_both"], numbers["dice_inner"]])
    assert task.about == {"values": [0, 2, 5], "ignore": 9, **NESTED.about()}
    with pytest.raises(
        ArgumentError, match=r"^loss\.class_weights and loss\.balanced weigh labels"
    ):
        make({"balanced": True}, regions=NESTED)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"loss": {"class_weights": (1.0, 2.0)}}, "^loss.class_weights is"),
        ({"loss": {"class_weights": (1.0, 2.0, -1.0)}}, "^loss.class_weights is"),
        ({"loss": {"class_weights": (1.0, 2.0, 3.0), "balanced": True}}, "loss.balanced are both"),
        ({"model": {"scaling": "log"}}, "^model.scaling is 'log'"),
        ({"model": {"head": "fpn"}}, "^model.head is 'fpn'"),
        ({"augmentation": {"affine": 2.0}}, "^augmentation.affine is 2.0"),
    ],
)
def test_what_cannot_be_is_refused(change, said):
    with pytest.raises(ArgumentError, match=said):
        make(**change)
