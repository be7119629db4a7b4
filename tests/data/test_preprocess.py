"""Cropping, scaling and resampling, and the way back."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from rubik_jax.data import formats, preprocess, resampling, scaling, statistics, volumes
from rubik_jax.errors import ArgumentError, UserError

SCAN = formats.Scan(Path("scan.nii"), "NIfTI", (5, 6, 7), np.dtype(np.int16), np.eye(4), np.array)


def volume_of(array, affine=None, scans=None):
    affine = np.diag([1.0, 2.0, 3.0, 1.0]) if affine is None else affine
    return volumes.Volume(array, affine, scans or (SCAN,) * array.shape[-1])


def how(kind="window", low=0.0, high=1.0, *, over="foreground", crop="none", spacing=None):
    intensity = {"kind": kind, "low": low, "high": high, "over": over}
    return preprocess.make_preprocessing(
        orientation="RAS", crop=crop, spacing=spacing, intensity=intensity
    )


def scaled(array, *knobs, **more):
    return preprocess.prepare(volume_of(array), None, how(*knobs, **more)).array


@given(
    hnp.arrays(np.float32, (3, 3, 3, 2), elements=st.floats(-1e6, 1e6, width=32)),
    st.sampled_from([("percentile", 1.0, 99.0), ("percentile", 0.0, 100.0), ("zscore", -3.0, 3.0)]),
    st.sampled_from(["foreground", "whole"]),
)
def test_scaled_intensities_lie_in_the_unit_interval_and_keep_their_order(array, knobs, over):
    array[0, 0, 0], array[2, 2, 2] = -2e6, 2e6
    prepared = scaled(array, *knobs, over=over)
    assert prepared.dtype == np.float16 and prepared.flags.c_contiguous
    assert prepared.min() >= 0 and prepared.max() <= 1
    for channel in range(2):
        rank = np.argsort(array[..., channel], axis=None)
        assert (np.diff(prepared[..., channel].ravel()[rank]) >= 0).all()


@pytest.mark.parametrize("order", ["C", "F", "K"])
@pytest.mark.parametrize("over", ["foreground", "whole"])
@pytest.mark.parametrize(
    ("kind", "low", "high"), [("percentile", 0.5, 99.5), ("percentile", 3, 90), ("zscore", -2, 3)]
)
def test_scaling_has_a_closed_form_whatever_the_memory_layout(order, over, kind, low, high):
    array = np.random.default_rng(0).normal(9, 5, (20, 30, 40, 2)).astype(np.float32)
    array[:10] = -50
    laid = np.asarray(array, order=order) if order != "K" else np.asarray(array[::-1], order="F")
    turned = laid[::-1] if order == "K" else laid
    prepared = scaled(turned, kind, low, high, over=over)
    for channel in range(2):
        voxels = array[..., channel].astype(np.float64)
        taken = voxels[voxels > voxels.min()] if over == "foreground" else voxels
        if kind == "zscore":
            ends = taken.mean() + np.array([low, high]) * taken.std()
        else:
            ends = np.percentile(taken, (low, high))
        expected = np.clip((voxels - ends[0]) / (ends[1] - ends[0]), 0, 1)
        np.testing.assert_allclose(prepared[..., channel], expected, atol=6e-4)


def test_float16_is_the_nearest():
    share = np.random.default_rng(0).random(10**5, dtype=np.float32)
    share[5:2000] *= 2.0**-14  # which float16 holds as subnormal numbers
    share[:5] = 0, 1, 2**-24, 1e-9, np.nextafter(np.float32(1), np.float32(0))
    half = scaling._half(share.copy())
    assert half.dtype == np.float16 and half.max() == 1
    off, most = np.abs(half - share), np.spacing(half).astype(np.float32) / 2
    assert (off <= most).all()
    np.testing.assert_array_equal(half[off < most], share.astype(np.float16)[off < most])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, ">i2", np.float64, ">f4"])
@pytest.mark.parametrize("knobs", [("percentile", 0.5, 99.5), ("zscore", -2.0, 2.0)])
def test_the_stored_type_changes_no_bit(dtype, knobs):
    numbers = np.random.default_rng(0).integers(2, 250, (50, 60, 70, 1)).astype(np.float32)
    numbers[:20] = 1  # a background
    numbers[0, 0] = 0  # and what lies below it
    spacing = (1.5, 1.5, 2.5)
    expected = scaled(numbers, *knobs, spacing=spacing)
    np.testing.assert_array_equal(scaled(numbers.astype(dtype), *knobs, spacing=spacing), expected)


@pytest.mark.parametrize("ringing", [0, -9])
@pytest.mark.parametrize("knobs", [("percentile", 5.0, 95.0), ("zscore", -2.0, 2.0)])
def test_neither_background_nor_ringing_tells_in_intensities_and_crop(ringing, knobs):
    brain = np.random.default_rng(0).uniform(50, 150, (10, 10, 10, 1)).astype(np.float32)
    brain[0, 0, 0] = 40  # the minimum, which does not count where nothing surrounds it
    padded = np.pad(brain, [(10, 10)] * 3 + [(0, 0)])
    padded[::7, 9, 9] = ringing
    surrounded = preprocess.prepare(volume_of(padded), None, how(*knobs, crop="foreground"))
    assert surrounded.box == ((10, 20),) * 3
    np.testing.assert_allclose(surrounded.array, scaled(brain, *knobs), atol=2e-3)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("step", [1, -1])
def test_the_crop_is_the_box_around_all_channels_and_keeps_world_positions(axes, step):
    memory = np.full((*np.array((9, 10, 11))[list(axes)], 2), -5, np.int16)
    array = memory.transpose(*np.argsort(axes), 3)[::step, :, ::step]
    array[2:5, 3:7, 4, 0] = np.arange(12).reshape(3, 4)
    array[3:8, 4, 5:9, 1] = 7
    labels = np.arange(990, dtype=np.int16).reshape(9, 10, 11)
    affine = np.array([[0, 2.0, 0, 9], [1.0, 0, 0, 8], [0, 0, 3.0, 7], [0, 0, 0, 1]])
    cropped = preprocess.prepare(
        volume_of(array, affine), labels, how("window", -5, 11, crop="foreground")
    )
    assert cropped.box == ((2, 8), (3, 7), (4, 9))
    np.testing.assert_array_equal(cropped.labels, labels[2:8, 3:7, 4:9])
    whole = preprocess.prepare(volume_of(array, affine), labels, how("window", -5, 11))
    np.testing.assert_array_equal(cropped.array, whole.array[2:8, 3:7, 4:9])
    np.testing.assert_allclose(cropped.affine @ [0, 0, 0, 1], affine @ [2, 3, 4, 1])


def test_the_crop_does_not_stumble_over_numbers_that_float32_rounds():
    array = np.full((6, 7, 8, 1), 0.1)
    array[2:4, 3:6, 1:5] = 0.7 + np.arange(24).reshape(2, 3, 4, 1)
    box = preprocess.prepare(volume_of(array), None, how(crop="foreground")).box
    assert box == ((2, 4), (3, 6), (1, 5))


@pytest.mark.parametrize(("slab", "box"), [(0, (0, 2)), (3, (3, 5)), (5, (4, 6))])
def test_a_crop_keeps_two_voxels(slab, box):
    array = np.zeros((6, 5, 4, 1), np.uint8)
    array[slab] = 1
    assert preprocess.prepare(volume_of(array), None, how(crop="foreground")).box[0] == box


def test_a_whole_z_score_is_taken_over_what_the_crop_leaves():
    brain = np.random.default_rng(0).uniform(50, 150, (10, 10, 10, 1)).astype(np.float32)
    knobs = {"over": "whole", "crop": "foreground"}
    around = scaled(np.pad(brain, [(4, 4)] * 3 + [(0, 0)]), "zscore", -2, 2, **knobs)
    np.testing.assert_array_equal(around, scaled(brain, "zscore", -2, 2, over="whole"))


def corners(affine, shape):
    """World positions of the outer corners."""
    return [affine @ [*np.where(at, shape, 0) - 0.5, 1] for at in np.ndindex(2, 2, 2)]


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.7, 2.6, 3), (50, 2, 3)])
def test_resampling_keeps_the_outer_edges_and_a_ramp_in_millimetres(spacing):
    affine = np.array([[-1.0, 0.2, 0, 3], [0.1, 2.0, 0, -9], [0, 0, 3.0, 5], [0, 0, 0, 1]])
    shape = (20, 17, 12)

    def ramp(shape, affine):
        at = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
        return (at @ [0.5, 0.25, 0.125])[..., None]

    volume = volume_of(ramp(shape, affine).astype(np.float32), affine)
    prepared = preprocess.prepare(volume, None, how("window", -50, 50, spacing=spacing))
    new = prepared.array.shape[:3]
    np.testing.assert_allclose(corners(prepared.affine, new), corners(affine, shape), atol=1e-9)
    if min(new) > 1:
        edges = np.linalg.norm(prepared.affine[:3, :3], axis=0)
        assert (np.abs(edges - spacing) <= 0.5 * edges / np.array(new) + 0.01).all()
        inner = (slice(4, -4), slice(4, -4), slice(1, -1))  # where no edge is held
        found = prepared.array.astype(np.float64) * 100 - 50
        expected = ramp(new, prepared.affine)
        np.testing.assert_allclose(found[inner], expected[inner], atol=0.05)
    else:
        assert new[0] == 1


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("shape", [(13, 5, 21), (6, 22, 7), (1, 9, 40)])
def test_resampling_agrees_with_scipy(order, shape):
    array = np.random.default_rng(0).random((9, 11, 10))
    zoom = np.divide(shape, array.shape)
    expected = ndimage.zoom(array, zoom, order=order, grid_mode=True, mode="nearest")
    np.testing.assert_allclose(resampling.resample(array, shape, order=order), expected, atol=1e-12)


@pytest.mark.parametrize("spacing", [None, (0.5, 1.0, 1.5), (1.7, 2.5, 4.0)])
@pytest.mark.parametrize("crop", ["none", "foreground"])
def test_answers_come_back_to_the_grid_that_was_read(crop, spacing):
    at = np.moveaxis(np.indices((40, 24, 18)), 0, -1) * [1, 2, 3] - [18, 22, 25]
    ball = (np.linalg.norm(at, axis=-1) < 15).astype(np.int16)
    array = np.where(np.linalg.norm(at, axis=-1) < 17, 1 + ball, 0)[..., None].astype(np.int16)
    prepared = preprocess.prepare(
        volume_of(array), ball, how("window", 0, 2, crop=crop, spacing=spacing)
    )
    assert (prepared.box != ((0, 40), (0, 24), (0, 18))) == (crop == "foreground")
    back = preprocess.restore(prepared.labels, ball.shape, prepared.box, order=0, fill=0)
    assert back.dtype == np.int16 and back.shape == ball.shape
    dice = 2 * (back & ball).sum() / (back.sum() + ball.sum())
    assert dice == 1 if spacing is None else dice > 0.9 + 0.05 * (spacing[0] < 1)
    soft = prepared.labels.astype(np.float32)
    soft = preprocess.restore(soft, ball.shape, prepared.box, order=1, fill=-1)
    outside = np.ones(ball.shape, bool)
    outside[tuple(slice(*ends) for ends in prepared.box)] = False
    assert (soft[outside] == -1).all() and soft[~outside].min() >= 0
    assert ((soft > 0.5) != ball)[~outside].mean() < 0.06


def test_a_missing_modality_stays_zero():
    array = np.random.default_rng(0).random((5, 6, 7, 2))
    array[..., 1] = 0
    volume = volume_of(array, scans=(SCAN, None))
    prepared = preprocess.prepare(volume, None, how("percentile", 1, 99, crop="foreground"))
    assert prepared.array[..., 0].any() and not prepared.array[..., 1].any()


def test_a_shape_spans_the_unit_interval_from_its_background_on():
    array = np.zeros((9, 10, 11, 1), np.float32)
    array[3:6, 3:6, 3:6] = 255
    array[2, 3, 3] = -30
    np.testing.assert_array_equal(scaled(array, "percentile", 0.5, 99.5), array > 0)


@pytest.mark.parametrize("knobs", [("window", 5, 6), ("window", -9, -8), ("zscore", 50, 60)])
def test_refuses_what_becomes_constant(knobs):
    array = np.random.default_rng(0).random((5, 6, 7, 2))
    array[..., 0] *= 5.5 if knobs[0] == "window" and knobs[1] > 0 else 1
    with pytest.raises(UserError, match=r"nothing is left of scan\.nii by .*: it becomes [01] "):
        scaled(array, *knobs)


def test_refuses_a_spacing_that_gives_too_many_voxels():
    array = np.random.default_rng(0).random((5, 6, 7, 1))
    with pytest.raises(UserError, match=r"0\.001x0\.001x0\.001 mm .* 5000x12000x21000 voxels"):
        scaled(array, spacing=(0.001, 0.001, 0.001))


KNOBS = {
    "orientation": "RAS",
    "crop": "none",
    "spacing": None,
    "intensity": {"kind": "window", "low": 0.0, "high": 1.0, "over": "whole"},
}


@pytest.mark.parametrize(
    ("knob", "value", "said"),
    [
        ("orientation", "RAX", "orientation is 'RAX'"),
        ("orientation", "RLS", "orientation is 'RLS'"),
        ("orientation", "RASS", "orientation is 'RASS'"),
        ("crop", "brain", "crop is 'brain'"),
        ("spacing", (1.0, 0.0, 1.0), r"spacing is \(1\.0, 0\.0"),
        ("spacing", (1.0, float("nan"), 1.0), r"spacing is \(1\.0, nan"),
        ("spacing", (1.0, 1.0), r"spacing is \(1\.0, 1\.0\)"),
        ("kind", "z-score", r"intensity\.kind is 'z-score'"),
        ("over", "brain", r"intensity\.over is 'brain'"),
        ("low", 1.0, r"intensity\.low is 1\.0"),
        ("low", float("nan"), r"intensity\.low is nan"),
        ("high", float("inf"), r"intensity\.low is 0\.0: .* less than high, inf"),
    ],
)
def test_refuses_unusable_knobs_by_name(knob, value, said):
    knobs = KNOBS | {"intensity": dict(KNOBS["intensity"])}
    (knobs if knob in knobs else knobs["intensity"])[knob] = value
    with pytest.raises(ArgumentError, match=rf"^{said}"):
        preprocess.make_preprocessing(**knobs)


@pytest.mark.parametrize("kind", ["window", "zscore"])
def test_percentiles_left_in_the_config_are_no_values(kind):
    with pytest.raises(ArgumentError, match=f"are 0.5 and 99.5, the percentiles .* kind '{kind}'"):
        how(kind, 0.5, 99.5)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 99.0), (0.0, 101.0)])
def test_refuses_percentiles_beyond_a_hundred(low, high):
    with pytest.raises(ArgumentError, match="expected 0 to 100"):
        how("percentile", low, high)


def test_a_known_measurement_changes_nothing():
    volume = volume_of(np.random.default_rng(0).random((5, 6, 7, 2)))
    knobs = how("percentile", 0.5, 99.5)
    measured = statistics.measure(volume.array)
    again = preprocess.prepare(volume, None, knobs, measured=measured)
    np.testing.assert_array_equal(again.array, preprocess.prepare(volume, None, knobs).array)
