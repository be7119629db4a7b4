"""What the tests of the page share: how a picture is read, what a run says of itself."""

import json
from xml.etree import ElementTree

import pytest

from configs import classify, contrast, pretrain, reconstruct, restore, segment
from rubik_jax.data.preprocess import to_json
from tests.preprocessing import scaled

SVG = "{http://www.w3.org/2000/svg}"
CONFIGS = {
    "pretrain": (pretrain.get_config, {}),
    "reconstruct": (reconstruct.get_config, {}),
    "restore": (restore.get_config, {}),
    "contrast": (contrast.get_config, {}),
    "segment": (segment.get_config, {"values": [0, 1, 2]}),
    "classify": (classify.get_config, {"classes": ["no", "yes"]}),
}


class Picture:
    """An SVG picture, which must be well-formed."""

    def __init__(self, svg: str):
        self.root = ElementTree.fromstring(svg)
        assert self.root.tag == f"{SVG}svg"

    def all(self, tag: str) -> list[ElementTree.Element]:
        return list(self.root.iter(f"{SVG}{tag}"))

    @property
    def texts(self) -> list[str]:
        return [text.text for text in self.all("text")]

    def lines(self, colour: str) -> int:
        """How many paths are drawn in a colour, with the marks that a path is made of apart."""
        drawn = [path.get("style", "") for path in self.all("path")]
        return sum("fill: none" in style and f"stroke: {colour}" in style for style in drawn)


@pytest.fixture
def read():
    """SVG -> `Picture`."""
    return Picture


@pytest.fixture
def describe():
    """Task, changes to its config -> what a checkpoint of its miniature says of itself."""

    def described(task: str, **changed) -> dict:
        get_config, about = CONFIGS[task]
        config = get_config("debug")
        with config.unlocked():
            config.update_from_flattened_dict(changed)
        return {
            "command": "python -m rubik_jax.main",
            "config": json.loads(config.to_json()),
            "preprocessing": to_json(scaled(0.5, 99.5, "percentile")),
            "split": {"train": ["a"], "validation": ["b"], "test": []},
            "versions": {"rubik_jax": "0"},
            "step": 4,
            **about,
        }

    return described
