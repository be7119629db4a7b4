"""The games that the puzzle is compared with, by the commands that a user types."""

import json

import pytest

from rubik_jax.main import main

SMALL = [
    "--config.window=(12,12,8)",
    "--config.steps=2",
    "--config.batch_size=2",
    "--config.model.encoder.widths=(8,8)",
    "--config.model.encoder.convs=(1,1)",
    "--config.model.encoder.strides=((1,1,1),(2,2,2))",
]
GAMES = {
    "reconstruct": ["--config.proxy.block=(4,4,4)"],
    "restore": ["--config.proxy.box=(2,2,2)"],
    "contrast": ["--config.proxy.view=(8,8,8)"],
}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    return [f"--config.data.path={folder / 'data'}", f"--config.data.store={folder / 'store'}"]


@pytest.mark.parametrize("task", GAMES)
def test_a_game_is_played_judged_again_and_its_encoder_loads_whole(
    task, phantoms, tmp_path, capsys
):
    run = tmp_path / task
    config = [f"--config=configs/{task}.py:debug", *phantoms, *SMALL, *GAMES[task]]
    assert main(["main", f"--workdir={run}", *config]) == 0
    assert (run / "report.html").read_text().count("<svg") >= 2  # curves and windows
    results = (run / "results.json").read_text()
    assert json.loads(results)["finished"]
    assert main(["main", "--mode=evaluate", f"--workdir={run}"]) == 0
    assert (run / "results.json").read_text() == results

    segment = ["--config=configs/segment.py:debug", *phantoms, *SMALL, "--dry_run"]
    capsys.readouterr()
    start = [f"--workdir={tmp_path / 'segment'}", f"--config.init_from={run}"]
    assert main(["main", *segment, *start]) == 0
    said = capsys.readouterr().out
    counts = next(line for line in said.splitlines() if line.startswith("encoder: "))
    encoder = counts.partition(";")[0]
    assert "loaded" in encoder
    assert not any(word in encoder for word in ("new", "adapted", "unused"))
    assert "note:" not in said  # nothing that it sees differs


@pytest.mark.parametrize(
    ("task", "override", "sentence"),
    [
        ("reconstruct", "--config.proxy.ratio=1.0", "config.proxy.ratio is 1.0, which blanks"),
        ("reconstruct", "--config.proxy.ratio=1.5", "config.proxy.ratio is 1.5; expected 0 to 1"),
        ("restore", "--config.proxy.box=(2,2,9)", "config.proxy.box is (2, 2, 9)"),
        ("contrast", "--config.proxy.view=(8,13,8)", "config.proxy.view is (8, 13, 8)"),
        ("contrast", "--config.accumulate=2", "config.batch_size is 2 in config.accumulate=2"),
        ("contrast", "--config.window=(12,12)", "config.window is (12, 12)"),
    ],
)
def test_a_game_that_cannot_be_is_refused_before_anything_is_read(
    task, override, sentence, tmp_path, capsys
):
    given = {each.partition("=")[0] for each in [override]}
    small = [each for each in (*SMALL, *GAMES[task]) if each.partition("=")[0] not in given]
    config = [f"--config=configs/{task}.py:debug", f"--config.data.path={tmp_path / 'none'}"]
    assert main(["main", f"--workdir={tmp_path / 'run'}", *config, *small, override]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
    assert not any(tmp_path.iterdir())
