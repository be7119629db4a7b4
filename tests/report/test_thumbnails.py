"""Small pictures lie as the patient does, and outlines where labels end."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from rubik_jax.report import thumbnails
from rubik_jax.report.drawing import PLANES, label_colours, row

COLOURS = label_colours([0, 1, 2])
NAMES = ("T1", "T2 <b>", "FLAIR")


def pictures(read, volume, labels=None, spacing=(1.0, 1.0, 1.0)) -> list[tuple[str, np.ndarray]]:
    """Kind and pixels [u, v] of each image, in their order."""
    found = []
    svg = row(thumbnails.tiles(volume, labels, spacing, COLOURS, NAMES))
    for element in read(svg).all("image"):
        kind, data = element.get("href").removeprefix("data:image/").split(";base64,")
        pixels = Image.open(io.BytesIO(base64.b64decode(data)))
        found.append((kind, np.asarray(pixels.convert("RGBA")).swapaxes(0, 1)))
    return found


def ramp(shape) -> np.ndarray:
    """A volume that grows to the right, the front and the top, unequally, float16 [x, y, z, 1]."""
    x, y, z = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    return ((4 * x + 2 * y + z) / 7)[..., None].astype(np.float16)


@pytest.mark.parametrize("shape", [(20, 30, 24), (300, 150, 20)])
def test_planes_are_those_through_the_middle_with_u_to_the_right_and_v_up(read, shape):
    volume = ramp(shape)
    for across, (kind, picture) in enumerate(pictures(read, volume)):
        plane = volume[..., 0].take(shape[across] // 2, across)
        assert kind == "jpeg"
        assert max(picture.shape[:2]) <= thumbnails.SIDE
        corners = np.ix_((0, -1), (0, -1))
        assert np.allclose(picture[..., 0][corners] / 255, plane[corners], atol=0.03)


def test_all_planes_have_one_scale_in_mm():
    volume, spacing = ramp((20, 30, 24)), (0.5, 1.0, 5.0)
    extent = np.multiply(spacing, volume.shape[:3])
    for tile in thumbnails.tiles(volume, None, spacing, COLOURS, NAMES):
        assert tile.axes == PLANES[tile.title]
        per_mm = np.divide(tile.size, extent[list(tile.axes)])
        assert np.allclose(per_mm, thumbnails.SIDE / extent.max())


def test_further_channels_show_their_axial_plane():
    volume = np.concatenate([ramp((9, 8, 7))] * 3, axis=-1)
    titles = [tile.title for tile in thumbnails.tiles(volume, None, (1, 1, 1), COLOURS, NAMES)]
    assert titles == ["sagittal", "coronal", "axial", *NAMES[1:]]


@pytest.mark.parametrize("seed", range(4))
def test_planes_go_where_the_mask_is_largest(seed):
    labels = np.random.default_rng(seed).integers(0, 3, (5, 6, 7)) * (np.arange(7) % (seed + 2) < 2)
    sums = [(labels > 0).sum(axis=axes) for axes in ((1, 2), (0, 2), (0, 1))]
    assert thumbnails.middle(labels, labels.shape) == tuple(int(np.argmax(of)) for of in sums)


@pytest.mark.parametrize("labels", [None, np.zeros((5, 6, 7), int)])
def test_planes_go_through_the_middle_without_a_mask(labels):
    assert thumbnails.middle(labels, (5, 6, 7, 2)) == (2, 3, 3)


def test_outlines_are_of_the_label_they_surround_and_leave_the_inside_free():
    labels = np.zeros((20, 30), int)
    labels[5:15, 5:15], labels[5:15, 15:25] = 1, 2
    drawn = thumbnails.outlines(labels, (40, 60))
    rim = np.zeros((40, 60), int)
    rim[10:30, 10:30], rim[10:30, 30:50] = 1, 2
    rim[12:28, 12:28] = rim[12:28, 32:48] = 0
    assert np.array_equal(drawn, rim)


def test_the_smallest_label_is_still_outlined_when_voxels_are_many():
    labels = np.zeros((512, 400), int)
    labels[301, 203] = 7
    where = np.argwhere(thumbnails.outlines(labels, (64, 50)))
    assert where.tolist() == [[301 * 64 // 512, 203 * 50 // 400]]


def test_outlines_lie_over_the_plane_in_the_colours_of_their_labels(read):
    labels = np.zeros((20, 30, 24), np.int16)
    labels[4:9, 4:20, 5:11], labels[9:15, 4:20, 5:11] = 1, 2
    kinds, drawn = zip(*pictures(read, ramp(labels.shape), labels), strict=True)
    assert kinds == ("jpeg", "png") * 3
    axial = drawn[5]
    for x, label in ((6.5, 1), (12, 2)):
        for y in (4.1, 19.9):  # just within the first voxel and the last
            u, v = (np.array([x / 20, y / 30]) * axial.shape[:2]).astype(int)
            assert tuple(axial[u, v]) == (*bytes.fromhex(COLOURS[label].code[1:]), 255)
    assert axial[0, 0, 3] == 0
