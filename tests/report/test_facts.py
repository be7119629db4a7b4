"""What is said of a run is what its config says, for every task."""

import pytest

from rubik_jax.report import facts

SUPERVISED = ("segment", "classify")


@pytest.mark.parametrize("task", ["pretrain", "reconstruct", "restore", "contrast", *SUPERVISED])
def test_every_task_has_its_cohort_network_and_optimiser(describe, task):
    found = facts.facts(describe(task))
    assert "1 train, 1 validation, 0 test" in found["cohort"]
    assert "widths 8-8" in found["network"]
    assert found["optimiser"].endswith("4 steps of 4")
    assert ("puzzle" in found) == (task == "pretrain")
    assert ("started from" in found) == (task in SUPERVISED)


@pytest.mark.parametrize(
    ("task", "changed", "said"),
    [
        ("reconstruct", {"proxy.ratio": 0.25, "proxy.block": (4, 6, 2)}, "25% of blocks of 4 × 6"),
        ("restore", {"proxy.box": (5, 3, 2)}, "shuffled in boxes of 5 × 3 × 2 in 50%"),
        ("contrast", {"proxy.view": (8, 9, 7), "accumulate": 2}, "8 × 9 × 7 voxels among the 4"),
        ("contrast", {"accumulate": 2}, "a batch, in 2 parts"),
    ],
)
def test_another_game_is_told_by_its_knobs(describe, task, changed, said):
    assert said in facts.facts(describe(task, **changed))["game"]


def test_a_start_from_scratch_differs_from_one_from_a_run(describe):
    assert facts.facts(describe("segment"))["started from"] == "scratch"
    started = facts.facts(describe("segment", init_from="runs/before"))["started from"]
    assert started == "runs/before, best checkpoint"


def test_the_encoder_says_how_it_moves_and_the_network_how_it_answers(describe):
    changed = {"optim.encoder.rate": 0.25, "optim.encoder.freeze": 30, "data.labelled": "8"}
    segment = facts.facts(describe("segment", **changed))
    assert "× 0.25" in segment["encoder"]
    assert "frozen for 30 steps" in segment["encoder"]
    assert "data.labelled=8" in segment["labelled cases"]
    assert "labels 0, 1, 2" in segment["labelled cases"]
    assert "unet decoder" in segment["network"]
    classify = facts.facts(describe("classify"))
    assert "free from the start" in classify["encoder"]
    assert "classes no, yes" in classify["labelled cases"]
    assert "linear head" in classify["network"]


def test_augmentation_names_what_is_on_alone(describe):
    off = dict.fromkeys(("affine", "intensity", "noise", "blur"), 0.0)
    off = {f"augment.{knob}": value for knob, value in off.items()}
    assert facts.facts(describe("segment", **off))["augmentation"] == "none"
    flipped = off | {"augment.flip": (True, False, True), "augment.noise": 0.25}
    said = facts.facts(describe("segment", **flipped))["augmentation"]
    assert said == "flips along xz; noise to 0.25"


def test_the_machine_stands_beside_the_versions_where_it_is_known(describe):
    assert facts.facts(describe("segment") | {"machine": "8 x chip"})["machine"] == "8 x chip"
    assert "machine" not in facts.facts(describe("segment"))
