"""The page stands alone, is harmless whatever a run is called, and is there whole or not at all."""

import json
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from configs.pretrain import get_config
from rubik_jax.errors import UserError
from rubik_jax.report import page

NASTY = 'runs/<script src="x">&amp;</script>'
VOID = {"meta", "br", "img", "link", "input", "hr"}
RESULTS = {
    "validation": {
        "examples": 40.0,
        "order_accuracy": 0.875,
        "order_chance": 0.0625,
        "order_majority": 0.125,
    },
    "blank": {"order_accuracy": 0.03125},
}


class Strict(HTMLParser):
    """Collects tags, attributes and text; a tag that is left open or closed twice fails."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.references, self.said = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [v for k, v in attrs if k in ("src", "href", "xlink:href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)


def described(command: str = "python -m rubik_jax.main") -> dict:
    return {
        "command": command,
        "config": json.loads(get_config("debug").to_json()),
        "split": {"train": ["a"], "validation": ["b"], "test": []},
        "versions": {"rubik_jax": "0"},
        "step": 20,
    }


def measure(folder) -> None:
    lines = [
        {"part": part, "step": step, "loss": 1 / step, "order_accuracy": 0.5, "order_chance": 0.1}
        for step in range(1, 1001)
        for part in (("train", "validation") if step % 100 == 0 else ("train",))
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def picture() -> dict[str, np.ndarray]:
    cubes = np.random.default_rng(0).uniform(-1, 1, (8, 16, 20, 16, 1)).astype(np.float32)
    names = np.arange(8)
    return {
        "before": cubes,
        "scrambled": cubes[::-1].copy(),
        "restored": cubes.copy(),
        "scrambled_from": names[::-1].copy(),
        "restored_from": names,
        "right": np.ones(8, bool),
        "counts": np.array([2, 2, 2]),
    }


def written(folder, *arguments) -> str:
    page.write(folder, *arguments)
    return (folder / page.REPORT).read_text(encoding="utf-8")


def test_a_whole_page_parses_needs_no_other_file_and_is_small(tmp_path):
    measure(tmp_path)
    text = written(tmp_path, described(), RESULTS, [], picture())
    found = Strict(text)
    assert "script" not in found.tags
    assert found.tags.count("svg") == 2
    assert all(value.startswith(("#", "data:")) for value in found.references)
    assert not re.findall(r"https?://", re.sub(r'xmlns(:\w+)?="[^"]*"', "", text))
    assert not re.findall(r"url\((?!#)", text)
    assert len(text.encode()) < 1_000_000
    said = " ".join(found.said)
    for shown in ("87.5%", "6.2%", "12.5%", "3.1%", "40 windows", page.PARTS["blank"]):
        assert shown in said
    assert "Nothing looks unhealthy" in said


def test_names_and_commands_are_shown_as_they_are_and_never_run(tmp_path):
    folder = tmp_path / "run <b>&amp;"
    folder.mkdir()
    found = Strict(written(folder, described(NASTY), RESULTS, [f"warning of {NASTY}"]))
    assert "script" not in found.tags
    said = "".join(found.said)
    assert folder.name in said
    assert said.count(NASTY) == 2


def test_warnings_stand_in_place_of_the_all_clear(tmp_path):
    text = written(tmp_path, described(), RESULTS, ["order head sits at chance", "second"])
    assert "order head sits at chance" in text
    assert "second" in text
    assert "Nothing looks unhealthy" not in text


def test_a_run_without_results_has_a_page_that_judges_nothing(tmp_path):
    text = written(tmp_path, described(), {}, [])
    assert Strict(text).tags.count("svg") == 0
    assert "Nothing looks unhealthy" not in text
    assert "load_encoder" in text


@pytest.mark.parametrize("blocked", ["write", "replace"])
def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch, blocked):
    old = written(tmp_path, described(), {}, [])
    if blocked == "write":  # by a folder, which stops root as well
        (tmp_path / f"{page.REPORT}.tmp").mkdir()
    else:

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match=r"report\.html can't be written"):
        page.write(tmp_path, described(), RESULTS, ["new"])
    assert (tmp_path / page.REPORT).read_text(encoding="utf-8") == old


def test_a_page_leaves_nothing_beside_it(tmp_path):
    written(tmp_path, described(), {}, [])
    assert [path.name for path in tmp_path.iterdir()] == [page.REPORT]
