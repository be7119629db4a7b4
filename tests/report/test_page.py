"""The page stands alone, is harmless whatever a run is called, and is there whole or not at all."""

import errno
import json
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from rubik_jax.errors import RunError, UserError
from rubik_jax.report import page, scores

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


def measure(folder) -> None:
    lines = [
        {"part": part, "step": step, "loss": 1 / step, "order_accuracy": 0.5, "order_chance": 0.1}
        for step in range(1, 1001)
        for part in (("train", "validation") if step % 100 == 0 else ("train",))
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def puzzle() -> dict[str, np.ndarray]:
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


def slices(side: int, cases: int = 1) -> list[dict]:
    """Scans of noise, which nothing can make small."""
    image = np.random.default_rng(0).uniform(0, 1, (side, side))
    labels = np.zeros((side, side), int)
    labels[2:-2, 2 : side // 2], labels[2:-2, side // 2 : -2] = 1, 2
    planes = [{"image": image, "truth": labels, "guess": labels}] * 3
    shared = {"planes": planes, "spacing": (1.0, 1.0, 1.0), "dice_1": float("nan")}
    return [{"case": f"{NASTY}{i}", "foreground_dice": i / 10, **shared} for i in range(cases)]


def answers() -> dict:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(2), 30)
    return {"truth": np.arange(30) % 2, "probabilities": probabilities, "classes": ("no", NASTY)}


NUMBERS = {
    "pretrain": RESULTS["validation"],
    "segment": {"foreground_dice": 0.5, "dice_1": float("nan"), "miou": 0.25, "cases": 2},
    "classify": {"accuracy": 0.5, "auc": float("nan"), "chance": 0.5, "majority": 0.75, "cases": 2},
}


def written(folder, *arguments) -> str:
    page.write(folder, *arguments)
    return (folder / page.REPORT).read_text(encoding="utf-8")


def test_a_whole_page_parses_needs_no_other_file_and_is_small(describe, tmp_path):
    measure(tmp_path)
    text = written(tmp_path, describe("pretrain"), RESULTS, [], {"puzzle": puzzle()})
    found = Strict(text)
    assert "script" not in found.tags
    assert found.tags.count("svg") == 2
    assert all(value.startswith(("#", "data:")) for value in found.references)
    assert not re.findall(r"https?://", re.sub(r'xmlns(:\w+)?="[^"]*"', "", text))
    assert not re.findall(r"url\((?!#)", text)
    assert len(text.encode()) < 1_000_000
    said = " ".join(found.said)
    for shown in ("87.5%", "6.2%", "12.5%", "3.1%", "40 windows", scores.PARTS["blank"]):
        assert shown in said
    assert "Nothing looks unhealthy" in said


def test_names_and_commands_are_shown_as_they_are_and_never_run(describe, tmp_path):
    folder = tmp_path / "run <b>&amp;"
    folder.mkdir()
    found = Strict(
        written(folder, describe("pretrain") | {"command": NASTY}, RESULTS, [f"warning of {NASTY}"])
    )
    assert "script" not in found.tags
    said = "".join(found.said)
    assert folder.name in said
    assert said.count(NASTY) == 2


def test_warnings_stand_in_place_of_the_all_clear(describe, tmp_path):
    text = written(tmp_path, describe("pretrain"), RESULTS, ["order head sits at chance", "second"])
    assert "order head sits at chance" in text
    assert "second" in text
    assert "Nothing looks unhealthy" not in text


def test_a_run_without_results_has_a_page_that_judges_nothing(describe, tmp_path):
    text = written(tmp_path, describe("pretrain"), {}, [])
    assert Strict(text).tags.count("svg") == 0
    assert "Nothing looks unhealthy" not in text
    assert "load_encoder" in text


@pytest.mark.parametrize("task", NUMBERS)
def test_each_task_has_a_page_while_it_trains(describe, tmp_path, task):
    found = Strict(written(tmp_path, describe(task), {"validation": NUMBERS[task]}, ["slow"]))
    said = " ".join(found.said)
    assert "slow" in said
    assert "load_encoder" in said
    assert ("--mode=predict" in said) == (task != "pretrain")
    assert found.tags.count("table") == 1
    assert "svg" not in found.tags


@pytest.mark.parametrize(
    ("task", "pictures", "drawn"),
    [("segment", {"slices": slices(9, cases=3)}, 3), ("classify", {"answers": answers()}, 1)],
)
def test_pictures_of_answers_stand_in_a_whole_page(describe, tmp_path, task, pictures, drawn):
    text = written(tmp_path, describe(task), {"test": NUMBERS[task]}, [], pictures)
    found = Strict(text)
    assert "script" not in found.tags
    assert found.tags.count("svg") == drawn
    assert all(value.startswith(("#", "data:")) for value in found.references)
    assert NASTY in "".join(found.said)


def test_the_page_of_large_scans_is_bounded(describe, tmp_path):
    pictures = {"slices": slices(512, cases=20)}
    text = written(tmp_path, describe("segment"), {"test": NUMBERS["segment"]}, [], pictures)
    assert Strict(text).tags.count("svg") == 6
    assert len(text.encode()) < 1_500_000


def test_a_page_in_progress_reads_itself_again_and_a_finished_one_does_not(describe, tmp_path):
    measure(tmp_path)
    page.write(tmp_path, describe("pretrain", steps=2000), {}, [], running=True)
    text = (tmp_path / page.REPORT).read_text(encoding="utf-8")
    assert "in progress, at step 1000 of 2000" in text
    assert '<meta http-equiv="refresh"' in text
    assert "refresh" not in written(tmp_path, describe("pretrain", steps=1000), {}, [])
    stopped = written(tmp_path, describe("pretrain", steps=2000), {}, [])
    assert "it stands at step 1000 of 2000" in stopped
    assert "refresh" not in stopped


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [
        (errno.ENOSPC, RunError, r"no space left on the disk of .*report\.html"),
        (errno.EACCES, UserError, r"report\.html cannot be written"),
    ],
)
def test_a_page_that_cannot_be_written_leaves_the_old_one(
    describe, tmp_path, monkeypatch, number, error, words
):
    old = written(tmp_path, describe("pretrain"), {}, [])

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(error, match=words):
        page.write(tmp_path, describe("pretrain"), RESULTS, ["new"])
    assert [path.name for path in tmp_path.iterdir()] == [page.REPORT]
    assert (tmp_path / page.REPORT).read_text(encoding="utf-8") == old


def test_a_page_leaves_nothing_beside_it(describe, tmp_path):
    written(tmp_path, describe("pretrain"), {}, [])
    assert [path.name for path in tmp_path.iterdir()] == [page.REPORT]
