"""Masks and answers are drawn where they lie, at the right scale, and the worst case is there."""

import base64
import io
import math
import re

import numpy as np
import pytest
from PIL import Image

from rubik_jax.report import drawing, slices
from rubik_jax.report.drawing import LABELS, label_colours

COLOURS = label_colours([0, 1, 2])
NASTY = "<b>case</b> & $x_1$"


def plane(sides=(7, 5), seed=0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (2, *sides))
    return {"image": rng.uniform(0, 1, sides), "truth": labels[0], "guess": labels[1]}


def planes(shape=(4, 5, 6)) -> list[dict[str, np.ndarray]]:
    return [plane(tuple(shape[a] for a in axes)) for axes in drawing.PLANES.values()]


def case(name: str, dice: float) -> dict:
    measures = {"foreground_dice": dice, "dice_1": dice, "dice_2": math.nan, "dice_0": 0.99}
    return {"case": name, "planes": planes(), "spacing": (1.0, 1.0, 2.0), **measures}


def drawn(element) -> np.ndarray:
    """The voxels [v, u, ...] of an embedded image."""
    data = element.get("href").removeprefix("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def edges(path: str) -> set[tuple[int, int, str]]:
    """The unit edges of a path by the corner they start from; each is drawn once."""
    found = []
    for u, v, way, length in re.findall(r"M(\d+) (\d+)([hv])(\d+)", path):
        for k in range(int(length)):
            found.append((int(u) + k * (way == "h"), int(v) + k * (way == "v"), way))
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize("seed", range(3))
def test_outlines_run_where_the_truth_ends_and_nowhere_else(read, seed):
    one = plane(seed=seed)
    svg = slices.draw([one] * 3, (1.0, 1.0, 1.0), COLOURS)
    for value, colour in COLOURS.items():
        mask = np.pad(one["truth"] == value, 1)
        across_u, across_v = np.diff(mask, axis=0)[:, 1:-1], np.diff(mask, axis=1)[1:-1]
        expected = {(u, v, "v") for u, v in np.argwhere(across_u)}
        expected |= {(u, v, "h") for u, v in np.argwhere(across_v)}
        paths = [p.get("d") for p in read(svg).all("path") if p.get("stroke") == colour.code]
        assert [edges(path) for path in paths] == [expected] * 3


def test_answers_fill_their_voxels_but_where_the_truth_says_nothing(read):
    one = plane()
    one["truth"][2, :] = -1
    _, fill = map(drawn, read(slices.draw([one] * 3, (1, 1, 1), COLOURS)).all("image")[:2])
    shown = np.where(one["truth"] < 0, 0, one["guess"]).T
    assert np.array_equal(fill[..., 3] > 0, shown > 0)
    for value, colour in COLOURS.items():
        assert np.all(fill[shown == value][:, :3] == list(bytes.fromhex(colour.code[1:])))


def test_scans_are_grey_with_u_to_the_right_and_v_up(read):
    one = plane()
    picture = read(slices.draw([one] * 3, (1.0, 1.0, 1.0), COLOURS))
    grey = drawn(picture.all("image")[0])
    assert np.abs(grey / 255 - one["image"].T).max() <= 0.5 / (slices.GREYS - 1) + 0.5 / 255
    flipped = [g.get("transform") for g in picture.all("g") if "translate" in g.get("transform")]
    assert len(flipped) == 3
    assert all(transform.endswith("scale(1 -1)") for transform in flipped)


def test_planes_are_named_have_letters_and_one_scale_in_mm(read):
    spacing, shape = np.array([0.5, 1.0, 5.0]), np.array([4, 5, 6])
    picture = read(slices.draw(planes(tuple(shape)), tuple(spacing), COLOURS))
    assert picture.texts == [
        *("sagittal", "A", "S"),
        *("coronal", "R", "S"),
        *("axial", "R", "A"),
    ]
    scales = [
        re.fullmatch(r"scale\((\S+) (\S+)\)", g.get("transform")) for g in picture.all("g")[1::2]
    ]
    per_mm = [
        float(scale[1 + side]) / spacing[axis]
        for scale, axes in zip(scales, drawing.PLANES.values(), strict=True)
        for side, axis in enumerate(axes)
    ]
    assert np.allclose(per_mm, per_mm[0], rtol=1e-3)
    assert float(picture.root.get("width")) <= slices.WIDTH + 1
    assert float(picture.root.get("height")) <= slices.HEIGHT + drawing.TITLE + 1


def test_labels_that_are_absent_leave_nothing(read):
    empty = plane()
    empty["truth"][:] = empty["guess"][:] = 0
    picture = read(slices.draw([empty] * 3, (1.0, 1.0, 1.0), COLOURS))
    assert not picture.all("path")
    assert len(picture.all("image")) == 3


@pytest.mark.parametrize("count", range(1, 20))
def test_worst_median_and_best_are_chosen_in_order(count):
    scores = np.random.default_rng(count).permutation(count) / count
    chosen = slices.choose([case(f"{score:.3f}", score) for score in scores])
    dice = [one["foreground_dice"] for _, one in chosen]
    assert len(chosen) == min(count, slices.DRAWN)
    assert dice == sorted(set(dice))
    assert {dice[0], dice[-1]} == {scores.min(), scores.max()}
    assert np.sort(scores)[(count - 1) // 2] in dice
    places = [place for place, _ in chosen]
    if count > 2:
        assert (places[0], places[-1], places.count("median")) == ("worst", "best", 1)


def test_cases_without_a_dice_come_last_and_do_not_disturb():
    nothing = [case(f"empty {i}", math.nan) for i in range(4)]
    one = slices.choose([*nothing[:2], case("a", 0.5), *nothing[2:], case("b", 0.25)])
    assert [c["case"] for _, c in one] == ["b", "a", *(f"empty {i}" for i in range(4))]
    assert [place for place, _ in one][1:3] == ["best", "nothing to find"]
    assert len(slices.choose(nothing)) == 4


def test_each_case_is_named_with_its_dice_and_the_legend_is_in_words(describe):
    cases = [case(NASTY, 0.125), case("fine", 0.875)]
    html = slices.section(cases, describe("segment"))
    assert "<b>case</b>" not in html
    assert "&lt;b&gt;case&lt;/b&gt; &amp; $x_1$" in html
    for said in ("worst", "best", "foreground Dice 0.125", "label 1 0.875", "label 2 –", "HD95 –"):
        assert said in html
    assert not re.search(r"label 0|background \(", html)
    for said in ("outline: ", "filled: ", "orange: label 1", "sky blue: label 2"):
        assert said in html


def test_more_labels_than_colours_share_them_openly(describe):
    description = describe("segment") | {"values": list(range(len(LABELS) + 2))}
    html = slices.section([case("a", 0.5)], description)
    assert f"{LABELS[0].name}: label 1, {len(LABELS) + 1}" in html
    assert html.count(f"background:{LABELS[0].code}") == 1
