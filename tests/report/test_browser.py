"""A run's page as a browser shows it: whole, quiet, and readable in light and in dark."""

import base64
import io
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rubik_jax.main import main
from rubik_jax.report import page, strategies
from tests import strategies as miniature

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--enable-logging=stderr", "--v=0"),
)
ENCODER = [
    "--config.model.encoder.widths=(4,6)",
    "--config.model.encoder.convs=(1,1)",
    "--config.model.encoder.strides=((1,1,1),(2,2,2))",
]
PUZZLE = ["--config.proxy.cube=(8,8,8)", "--config.proxy.gap=(2,2,2)"]
SCORES = {"time", "share", "test"}
TRANSFER = {"arrays", "parameters", "status", "norm"}
# Of each task the least that must be there: headings, heads of tables, pictures.
PARTS = {
    "pretrain": (
        {"One puzzle", "Mistakes"},
        SCORES | {"chance", "blank", "none", "horizontal", "vertical", "both"},
        4,
    ),
    "segment": (
        {"Slices", "Cases", "Where the weights come from"},
        TRANSFER | {"Dice", "IoU", "Dice, foreground", "time"},
        4,
    ),
    "classify": (
        {"Answers", "Cases", "Where the weights come from"},
        SCORES | TRANSFER | {"chance", "answer"},
        3,
    ),
}


class Shown(HTMLParser):
    """The elements of a page as the browser holds it, and what stands in headings and heads."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.said: dict[str, set[str]] = {"h2": set(), "th": set()}
        self._within = ""
        self.feed(text)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._within = tag

    def handle_data(self, data):
        if self._within in self.said:
            self.said[self._within].add(data.strip())


@pytest.fixture(scope="module")
def browse(tmp_path_factory) -> Callable[..., subprocess.CompletedProcess]:
    """Page, options -> what a browser that opens it says, the console on standard error."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser to open pages in: none of {', '.join(BROWSERS)} is installed")

    def opened(file: Path, *options: str) -> subprocess.CompletedProcess:
        profile = f"--user-data-dir={tmp_path_factory.mktemp('profile')}"
        return subprocess.run(
            [found, *QUIET, profile, *options, file.absolute().as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )

    return opened


@pytest.fixture(scope="module")
def pages(browse, tmp_path_factory) -> dict[str, Path]:
    """The pages of a miniature pre-training, and of what is fine-tuned from it, by their tasks."""
    del browse  # no runs where nobody looks at them
    folder = tmp_path_factory.mktemp("runs")
    data = [f"--config.data.{knob}={folder / knob}" for knob in ("path", "store")]
    for task in PARTS:
        start = [f"--config.init_from={folder / 'pretrain'}", "--config.window=(16,16,16)"]
        more = PUZZLE if task == "pretrain" else start
        config = [f"--config=configs/{task}.py:debug", f"--workdir={folder / task}"]
        assert main(["main", *config, *data, *ENCODER, *more]) == 0
    return {task: folder / task / page.REPORT for task in PARTS}


def console(said: subprocess.CompletedProcess) -> list[str]:
    return [line for line in said.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("task", PARTS)
def test_a_page_is_whole_and_asks_for_nothing(browse, pages, task):
    said = browse(pages[task], "--dump-dom")
    assert console(said) == []
    shown = Shown(said.stdout)
    headings, heads, pictures = PARTS[task]
    assert headings | {"Curves", "Cost", "The encoder", "The run"} <= shown.said["h2"]
    assert heads <= shown.said["th"]
    assert len(shown.all("svg")) >= pictures
    assert all(float(re.match(r"[\d.]+", svg["width"])[0]) > 0 for svg in shown.all("svg"))
    asked = [value for _, of in shown.elements for key, value in of.items() if "xmlns" not in key]
    assert not [value for value in asked if re.search(r"https?:|file:", value)]
    embedded = [of.get("href") or of.get("xlink:href") for of in shown.all("image")]
    assert embedded or task == "classify"
    for data in embedded:
        Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))).verify()


@pytest.mark.parametrize("task", PARTS)
def test_a_page_is_readable_in_light_and_in_dark(browse, pages, tmp_path, task):
    for scheme, paper in {"0": 24, "1": 255}.items():  # 0 is dark
        shot = tmp_path / f"{scheme}.png"
        look = f"--blink-settings=preferredColorScheme={scheme}"
        browse(pages[task], look, "--window-size=1000,4000", f"--screenshot={shot}")
        grey = np.asarray(Image.open(shot).convert("L")).astype(int)
        assert grey[:, :8].min() == grey[:, :8].max() == pytest.approx(paper, abs=2)
        assert grey[:, -8:].std() == 0, "something is wider than the page"
        ink = np.abs(grey[:1000] - paper) > 128  # of the title, the scores, the curves
        assert 0.005 < ink.mean() < 0.5
        assert np.unique(np.abs(grey - paper) > 128, axis=1).shape[1] > 100


def test_a_page_that_asks_for_more_would_be_heard(browse, pages, tmp_path):
    text = pages["pretrain"].read_text(encoding="utf-8")
    asking = tmp_path / "asking.html"
    asking.write_text(text.replace("</body>", '<img src="https://localhost/a.png"></body>'))
    assert len(console(browse(asking, "--dump-dom"))) == 1


def test_the_page_of_tables_is_whole_and_asks_for_nothing(browse, tmp_path):
    strategies.write(tmp_path, miniature.tables())
    said = browse(tmp_path / strategies.HTML, "--dump-dom")
    assert console(said) == []
    shown = Shown(said.stdout)
    assert {"What labels are worth", "How to read this", "How it was run"} <= shown.said["h2"]
    assert len(shown.all("table")) == 3 and shown.all("svg")
