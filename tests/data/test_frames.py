"""A file of many frames is one volume by the place of each, and strangers beside it are no part."""

import numpy as np
import pytest

from rubik_jax.data import formats, volumes
from rubik_jax.data.cases import Where
from rubik_jax.data.sources import folder
from rubik_jax.errors import UserError
from tests.data.dicom_files import frames, items, write

N = 6
VOXELS = np.random.default_rng(0).integers(-500, 900, (N, 5, 4)).astype(np.int16)  # [z, y, x]
RISING = [3.0 + 2 * k for k in range(N)]
ORDERS = {
    "rising": [*range(N)],
    "falling": [*range(N)][::-1],
    "interleaved": [0, 2, 4, 1, 3, 5],
    "shuffled": [3, 0, 5, 1, 4, 2],
}


def shuffled(path, order, **more):
    """VOXELS, whose slice k lies 2k mm up, its frames in this order."""
    return frames(path, VOXELS[order], [RISING[k] for k in order], **more)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", ["Enhanced MR", "Enhanced CT", "Legacy Converted Enhanced CT"])
@pytest.mark.parametrize("as_file", [True, False])
def test_frames_lie_where_their_positions_say(tmp_path, order, kind, as_file):
    file = shuffled(tmp_path / "s" / "e.dcm", ORDERS[order], kind=kind)
    volume = volumes.read((file if as_file else file.parent,), orientation="LPS")
    np.testing.assert_array_equal(volume.array[..., 0].T, VOXELS)
    expected = np.diag([-0.7, -0.9, 2, 1])
    expected[:3, 3] = 8.5, 7, 3
    np.testing.assert_allclose(volume.affine, expected, atol=1e-9)
    (scan,) = volume.scans
    assert (scan.shape, scan.dtype, scan.kind) == ((4, 5, 6), np.int16, "DICOM")


def test_oblique_frames_and_those_that_each_say_all(tmp_path):
    x, y = np.array([0.8, 0.6, 0]), np.array([0, 0, -1.0])
    normal = np.cross(x, y)
    order = ORDERS["shuffled"]
    file = frames(
        tmp_path / "e.dcm",
        VOXELS[order],
        [2.5 * k * normal + (1, 2, 3) for k in order],
        shared={"PlaneOrientationSequence": None, "PixelMeasuresSequence": None},
        each=lambda k: {
            "PlaneOrientationSequence": items(ImageOrientationPatient=[*x, *y]),
            "PixelMeasuresSequence": items(PixelSpacing=[0.9, 0.7]),
        },
    )
    scan = formats.open_scan(file)
    np.testing.assert_array_equal(scan.voxels().T, VOXELS)
    lps = np.add((1, 2, 3), 3 * 0.7 * x + 4 * 0.9 * y + 5 * 2.5 * normal)
    np.testing.assert_allclose((scan.affine @ (3, 4, 5, 1))[:3], lps * (-1, -1, 1), atol=1e-9)


def test_slope_and_intercept_apply_frame_by_frame(tmp_path):
    def scaling(k):
        values = {"RescaleSlope": 1 + 0.5 * k, "RescaleIntercept": -10.5 * k - 3}
        return {"PixelValueTransformationSequence": items(**values, RescaleType="US")}

    order = ORDERS["interleaved"]
    scan = formats.open_scan(shuffled(tmp_path / "e.dcm", order, each=scaling))
    assert scan.dtype == scan.voxels().dtype == np.float32
    expected = np.empty(VOXELS.shape, np.float32)
    for k, z in enumerate(order):
        expected[z] = VOXELS[z] * (1 + 0.5 * k) - 10.5 * k - 3
    np.testing.assert_array_equal(scan.voxels().T, expected)


def test_one_slope_of_all_frames_applies_once(tmp_path):
    scaling = items(RescaleSlope=2, RescaleIntercept=-1024, RescaleType="HU")
    shared = {"PixelValueTransformationSequence": scaling}
    scan = formats.open_scan(shuffled(tmp_path / "e.dcm", ORDERS["falling"], shared=shared))
    np.testing.assert_array_equal(scan.voxels().T, VOXELS.astype(int) * 2 - 1024)


def test_enhanced_files_of_one_frame_are_slices(tmp_path):
    for k, place in enumerate(RISING):
        frames(tmp_path / "s" / f"{k}.dcm", VOXELS[k : k + 1], [place])
    volume = volumes.read((tmp_path / "s",), orientation="LPS")
    np.testing.assert_array_equal(volume.array[..., 0].T, VOXELS)
    assert volume.affine[2, 2] == 2


def test_a_dose_grid_gives_the_distances_of_its_frames(tmp_path):
    place = {"ImagePositionPatient": [0, 0, 3.0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    offsets = {"PixelSpacing": [0.9, 0.7], "GridFrameOffsetVector": [2.5 * k for k in range(N)]}
    file = write(tmp_path / "d.dcm", "RT Dose", VOXELS, **place, **offsets)
    assert formats.open_scan(file).affine[2, 2] == 2.5
    write(
        file, "RT Dose", VOXELS, **place, **offsets | {"GridFrameOffsetVector": [0, 1, 2, 3, 4, 9]}
    )
    with pytest.raises(UserError, match="frames missing or uneven: frame 5 and frame 6 are 5 mm"):
        formats.open_scan(file)


@pytest.mark.parametrize(
    "kind",
    [
        "Multi-frame Grayscale Word Secondary Capture",
        "Enhanced MR",
        "Ultrasound Multi-frame",
        "Nuclear Medicine",
    ],
)
def test_one_place_and_one_distance_are_those_of_all_frames(tmp_path, kind):
    place = {"ImagePositionPatient": [1, 2, 3.0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    more = {"PixelSpacing": [0.9, 0.7], "SpacingBetweenSlices": 2.0}
    scan = formats.open_scan(write(tmp_path / "m.dcm", kind, VOXELS, **place, **more))
    expected = np.diag([-0.7, -0.9, 2, 1])
    expected[:3, 3] = -1, -2, 3
    np.testing.assert_allclose(scan.affine, expected, atol=1e-9)
    np.testing.assert_array_equal(scan.voxels().T, VOXELS)


def content(**values):
    return lambda k: {"FrameContentSequence": items(**{name: of(k) for name, of in values.items()})}


@pytest.mark.parametrize(
    ("each", "said"),
    [
        (
            lambda k: {"MREchoSequence": items(EffectiveEchoTime=10.0 if k < 3 else 80.0)},
            r"several volumes \(frame 1 \(echo time 10 ms\) and frame 4 \(echo time 80 ms",
        ),
        (content(StackID=lambda k: str(1 + k // 3)), "several volumes .*: stack 1 and stack 2"),
        (content(StackID=lambda k: str(1 + k % 2)), "several volumes .*: stack 1 and stack 2"),
        (
            content(StackID=lambda k: "1", InStackPositionNumber=lambda k: 1 + 2 * k),
            "frames missing: 6 of the positions 1 to 11 of its stack are there",
        ),
    ],
)
def test_even_places_alone_make_no_volume(tmp_path, each, said):
    with pytest.raises(UserError, match=said):
        formats.open_scan(frames(tmp_path / "e.dcm", VOXELS, RISING, each=each))


def test_a_stack_whose_positions_are_counted_is_read(tmp_path):
    each = content(StackID=lambda k: "1", InStackPositionNumber=lambda k: 6 - k)
    assert formats.open_scan(frames(tmp_path / "e.dcm", VOXELS, RISING, each=each)).shape[2] == 6


def echo(k):
    return {"MREchoSequence": items(EffectiveEchoTime=(10.0, 80.0)[k % 2])}


def time(k):
    return {"FrameContentSequence": items(TemporalPositionIndex=1 + k // 3)}


def turned(k):
    directions = [1, 0, 0, 0, 1, 0] if k < 4 else [0, 1, 0, 0, 0, -1.0]
    return {"PlaneOrientationSequence": items(ImageOrientationPatient=directions)}


@pytest.mark.parametrize(
    ("places", "more", "said"),
    [
        (
            [3, 5, 7, 13, 15, 17],
            {},
            r"frames missing or uneven: frame 3 and frame 4 are 6 mm apart, most of its 6 frames 2",
        ),
        (
            [3, 3, 5, 5, 7, 7],
            {"each": echo},
            r"6 frames, 3 of them at the position of another \(frame 1 \(echo time 10 ms\) and "
            r"frame 2 \(echo time 80 ms\)\)",
        ),
        (
            [3, 5, 7, 3, 5, 7],
            {"each": time},
            r"frame 1 \(time point 1\) and frame 4 \(time point 2",
        ),
        ([3, 5, 7, 3, 5, 7], {}, r"\(frame 1 and frame 4\): expected one at each"),
        ([3, 5, 7, 9, 1, 2], {"each": turned}, r"several directions .*frame 1 and frame 5 differ"),
        ([3, 5, None, 9, 11, 13], {}, r"e\.dcm has no position for its frame 3"),
        (RISING[:5], {}, "declares 6 frames and describes 5"),
        (
            RISING,
            {"InConcatenationNumber": 2, "InConcatenationTotalNumber": 3},
            "is part 2 of 3 of one volume",
        ),
    ],
)
def test_refuses_frames_that_are_not_one_volume(tmp_path, places, more, said):
    file = frames(tmp_path / "e.dcm", VOXELS, places, **more)
    for path in (file, tmp_path):
        with pytest.raises(UserError, match=said) as refused:
            volumes.read((path,))
        assert str(tmp_path) in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"FrameTime": 33.3}, "6 frames that follow one another in time"),
        ({}, "6 frames and says nothing of the place of each"),
        ({"SpacingBetweenSlices": 2.0}, "6 frames and says nothing of the place of each"),
    ],
)
def test_refuses_frames_without_a_place(tmp_path, values, said):
    file = write(tmp_path / "u.dcm", "Ultrasound Multi-frame", VOXELS, **values)
    with pytest.raises(UserError, match=said):
        volumes.read((file,))


def a_series(root):
    for k, place in enumerate(RISING):
        write(
            root / f"{k}.dcm",
            "CT",
            VOXELS[k : k + 1],
            SeriesInstanceUID="1.2.4",
            ImagePositionPatient=[0, 0, place],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[0.9, 0.7],
        )
    return root


def localizer(path, **values):
    at = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
    return write(path, "CT", VOXELS[:1], **at, PixelSpacing=[0.9, 0.7], **values)


STRANGERS = {
    "structures": lambda p: write(p, "RT Structure Set"),
    "report": lambda p: write(p, "Comprehensive SR"),
    "presentation": lambda p: write(p, "Presentation State"),
    "private": lambda p: write(p, "private"),
    "segmentation": lambda p: frames(p, VOXELS[:3], RISING[:3], kind="Segmentation"),
    "dose": lambda p: write(p, "RT Dose", VOXELS[:2], GridFrameOffsetVector=[0, 2],
        ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        PixelSpacing=[1, 1]),
    "cine": lambda p: write(p, "Ultrasound Multi-frame", VOXELS, FrameTime=33.3),
    "screenshots": lambda p: write(p, "Ultrasound Multi-frame", VOXELS),
    "localizer": localizer,
    "localizer of the series": lambda p: localizer(
        p, SeriesInstanceUID="1.2.4", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ["X.dcm", "0X"])
@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_stranger_beside_a_series_is_passed_over_and_named(tmp_path, stranger, name):
    root = a_series(tmp_path / "s")
    STRANGERS[stranger](root / name)
    (case,) = folder.cases(Where(tmp_path))
    volume = volumes.read(case.images, orientation="LPS")
    np.testing.assert_array_equal(volume.array[..., 0].T, VOXELS)
    (passed,) = volume.scans[0].passed_over
    assert passed.startswith(f"{name} (")
    assert not formats.open_scan(root / "0.dcm").passed_over


def test_a_part_of_the_series_is_no_stranger(tmp_path):
    root = a_series(tmp_path / "s")
    localizer(root / "X.dcm", SeriesInstanceUID="1.2.4")
    with pytest.raises(UserError, match="holds 2 DICOM series"):
        volumes.read((root,))
    (root / "X.dcm").write_bytes((root / "2.dcm").read_bytes()[:400])
    with pytest.raises(UserError, match=r"X\.dcm is damaged, or a DICOM file without an image"):
        volumes.read((root,))


def test_a_folder_without_an_image_is_refused_alone_and_passed_over_beside_others(tmp_path):
    file = write(tmp_path / "p" / "rs" / "RS.dcm", "RT Structure Set")
    a_series(tmp_path / "p" / "ct")
    assert formats.find(tmp_path) == [tmp_path / "p" / "ct"]
    (case,) = folder.cases(Where(file.parent))
    with pytest.raises(
        UserError, match=r"without DICOM slices with an image, but RS\.dcm \(RT Str"
    ):
        volumes.read(case.images)
    with pytest.raises(UserError, match=r"RS\.dcm is of the kind RT Structure Set, which holds no"):
        volumes.read((file,))
