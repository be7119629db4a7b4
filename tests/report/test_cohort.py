"""The page of a cohort shows each case once, those that stand apart first, and is small."""

import gc
import re
import weakref
from html import unescape
from typing import NamedTuple

import numpy as np
import pytest
from scipy import ndimage

from rubik_jax.errors import UserError
from rubik_jax.report import cohort
from rubik_jax.workdir import DATA_REPORT as REPORT

NASTY = "<b>case</b> & <script>"


def facts(*, channels=1, labels=True, shape=(20, 24, 16), histogram=range(64)) -> dict:
    channel = {"min": 0, "max": 9, "mean": 4, "low": 1, "high": 8, "foreground": 0.5}
    return {
        "format": "NIfTI",
        "dtype": "int16",
        "shape": list(shape),
        "spacing": [1.0, 1.0, 2.0],
        "orientation": "LAS",
        "channels": [channel | {"histogram": list(histogram)}] * channels,
        "labels": {"0": 5, "2": 9} if labels else None,
        "digest": "",
    }


def shown(name, *, reasons=(), channels=1, labels=True, shape=(20, 24, 16), opened=None, **of):
    """A smooth case; `opened` notes the volume."""

    def volume() -> np.ndarray:
        noise = np.random.default_rng(0).uniform(0, 1, (*shape, channels))
        array = ndimage.gaussian_filter(noise, (2, 2, 2, 0)).astype(np.float16)
        if opened is not None:
            opened(name, array)
        return array

    def mask() -> np.ndarray | None:
        grid = np.zeros(shape, np.int16)
        grid[4:12, 4:12, 4:12] = 2
        return grid if labels else None

    read = facts(channels=channels, labels=labels, **({"shape": shape} | of))
    return cohort.Shown(name, read, reasons, (1.0, 1.0, 2.0), volume, mask)


def written(folder, cases, **options) -> str:
    options = {"skipped": {}, "done": ["axes turned"]} | options
    path = folder / REPORT
    cohort.write(path, cases, title="a cohort", about="0.1", command="python", **options)
    return path.read_text(encoding="utf-8")


def names(page: str) -> list[str]:
    return [unescape(name) for name in re.findall("<article><h3>(.*?)</h3>", page)]


def test_those_that_stand_apart_come_first_as_given_and_the_others_by_name(tmp_path):
    cases = [shown("d"), shown("c", reasons=["odd"]), shown("b"), shown("a", reasons=["strange"])]
    page = written(tmp_path, cases)
    assert names(page) == ["c", "a", "b", "d"]
    assert "2 of 4 cases stand apart:" in page
    assert page.index("strange") < page.index("<h2>The others</h2>") < page.index("<h3>b</h3>")
    assert "The others" not in written(tmp_path, cases[::2])


def test_a_page_asks_for_nothing_runs_nothing_and_shows_text_as_it_is(tmp_path, read):
    case = shown(NASTY, reasons=[NASTY], channels=2)
    page = written(tmp_path, [case], skipped={NASTY: NASTY}, done=[NASTY])
    assert unescape(page).count(NASTY) == 5
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert not re.findall(r"https?://", page.replace('xmlns="http://www.w3.org/2000/svg"', ""))
    assert set(re.findall(r'href="(.{5})', page)) == {"data:", "#typi"}
    for svg in re.findall("<svg xmlns.*?</svg>", page, re.DOTALL):
        read(svg)


def test_cases_are_opened_one_at_a_time_and_once(tmp_path):
    alive, order, most = set(), [], []

    def opened(name, array):
        alive.add(name)
        order.append(name)
        weakref.finalize(array, alive.discard, name)
        gc.collect()
        most.append(len(alive))

    written(tmp_path, [shown(f"{i}", opened=opened) for i in range(6)])
    assert order == [f"{i}" for i in range(6)]
    assert max(most) <= 2  # the last one's until it is overwritten


def test_progress_sees_every_case_to_the_end(tmp_path):
    seen = []

    def progress(items, total):
        for item in items:
            seen.append(total)
            yield item
        seen.append("done")

    written(tmp_path, [shown(f"{i}") for i in range(3)], progress=progress)
    assert seen == [3, 3, 3, "done"]


def test_a_case_that_fails_leaves_the_old_page_alone(tmp_path):
    old = written(tmp_path, [shown("a")])
    broken = shown("b")._replace(volume=lambda: (_ for _ in ()).throw(OSError("gone")))
    with pytest.raises(UserError, match="cannot be written"):
        written(tmp_path, [shown("a"), broken])
    assert (tmp_path / REPORT).read_text() == old
    assert [path.name for path in tmp_path.iterdir()] == [REPORT]


@pytest.mark.parametrize(("channels", "most"), [(1, 16_000), (4, 30_000)])
def test_five_hundred_large_cases_take_less_than_15_megabytes(tmp_path, channels, most):
    one = len(written(tmp_path, [shown("a", channels=channels, shape=(160, 120, 140))]))
    two = [shown(name, channels=channels, shape=(160, 120, 140)) for name in "ab"]
    assert len(written(tmp_path, two)) - one < most


def test_histograms_are_on_the_scale_of_the_mean_of_all(tmp_path):
    pages = [
        written(tmp_path, [shown("a", histogram=first), shown("b", histogram=range(64))])
        for first in (range(64), range(0, 640, 10), range(64)[::-1])
    ]
    for page, alike in zip(pages, (True, True, False), strict=True):
        (mean,) = re.findall(r'<path id="typical0" d="(.*?)"', page)
        for path in re.findall(r'none"><path d="(.*?)"/><use href="#typical0"/>', page):
            assert path.startswith(mean) == alike


def test_a_case_tells_what_preparing_changed(tmp_path):
    assert "prepared:" not in written(tmp_path, [shown("a")])
    page = written(tmp_path, [shown("a")._replace(facts=facts(shape=(40, 48, 32)))])
    assert "40x48x32 voxels of 1x1x2 mm" in page
    assert "prepared: 20x24x16 voxels of 1x1x2 mm" in page


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR"])
def test_letters_are_right_whatever_the_axes_of_the_prepared_volumes(tmp_path, orientation):
    """The same patient gives the same pictures."""
    case = shown("a")._replace(spacing=(1.0, 2.0, 3.0))
    axes = ["RAS".index({"L": "R", "P": "A", "I": "S"}.get(code, code)) for code in orientation]
    flips = tuple(slice(None, None, 1 if code in "RAS" else -1) for code in orientation)
    volume = case.volume().transpose(*axes, 3)[flips]
    labels = case.labels().transpose(axes)[flips]
    turned = case._replace(
        volume=lambda: volume, labels=lambda: labels, spacing=np.take(case.spacing, axes).tolist()
    )
    pages = written(tmp_path, [case]), written(tmp_path, [turned], orientation=orientation)
    images = [re.findall(r"<image .*?/>", page) for page in pages]
    assert images[0] == images[1]


def test_what_is_skipped_stands_at_the_top_though_nothing_is_left(tmp_path):
    page = written(tmp_path, [], skipped={"x": "damaged", "y": "cut short"})
    assert "Skipped: 2" in page
    assert "x: damaged" in page
    assert names(page) == []
    assert page.endswith("</html>\n")


class How(NamedTuple):
    orientation: str = "RAS"
    crop: str = "none"
    spacing: tuple | None = None
    intensity: str = "window -1000 to 400"
    geometry: str = "affine"


def test_each_step_of_preprocessing_has_a_line():
    assert cohort.steps(How())[:4] == [
        "axes turned to RAS",
        "not cropped",
        "intensities scaled to 0 to 1 and clipped: window -1000 to 400",
        "voxels of the size they had",
    ]
    lines = cohort.steps(How(crop="foreground", spacing=(1.0, 1.0, 2.5)))
    assert "cropped to the box around the foreground" in lines
    assert "pixdim" in cohort.steps(How(geometry="pixdim"))[0]
    assert "resampled to voxels of 1x1x2.5 mm" in lines
