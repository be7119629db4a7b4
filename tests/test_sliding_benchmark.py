"""The benchmark of sliding windows, in miniature: both ask the same windows of equal networks."""

from importlib import util

import numpy as np
import pytest

from benchmarks import contest, sliding
from configs import segment
from rubik_jax import inference

WINDOWS = 3 * 3 * 3


@pytest.fixture(scope="module")
def asked():
    """A volume of 27 windows, and a network of two stages."""
    config = segment.get_config("cohort=brats,head=unet").copy_and_resolve_references()
    narrow = {"widths": (4, 8), "convs": (1, 1), "strides": ((1, 1, 1), (2, 2, 2))}
    config.model.encoder.update(narrow | {"dtype": "float32"})
    config.model.scaling, config.window = "none", (8, 8, 8)
    return sliding.Asked(config, (16, 15, 16), channels=2, classes=3)


def test_the_page_tells_what_was_measured(asked, race_here):
    found = sliding.compare(asked, against=False, rounds=1, seconds=0)
    it = found[sliding.OURS]
    assert it["cubes"] == -(-WINDOWS // found["batch"]) * found["batch"]  # the last is filled up
    lines = sliding.page(found).splitlines()
    assert "16x15x16x2 to 3 labels" in lines[2] and "windows of 8x8x8, 4 at a time" in lines[2]
    (line,) = [line for line in lines if line.startswith("| rubik_jax")]
    cells = [cell.strip() for cell in line.split("|")[2:-1]]
    assert cells[0] == str(it["cubes"])
    assert float(cells[1]) == pytest.approx(it["step"] * 1e3, rel=1e-3)
    assert float(cells[3].rstrip("%")) == pytest.approx(
        100 * (it["step"] / it["bare"] - 1), abs=0.1
    )
    assert sliding.PEER not in lines[-1]


@pytest.mark.parametrize("kept", [False, True])
def test_freed_memory_is_kept_for_the_peer_where_that_is_asked_for(asked, monkeypatch, kept):
    class Raced(Exception):  # noqa: N818
        """What would be raced is known."""

    def race(factories, *_):
        raise Raced({who: call.keeps_memory for who, call in factories.items()})

    monkeypatch.setattr(contest, "race", race)
    with pytest.raises(Raced) as raised:
        sliding.compare(asked, against=True, rounds=1, keep_memory=kept)
    # Ours does so by itself.
    assert raised.value.args == ({sliding.OURS: False, sliding.PEER: kept},)


@pytest.mark.skipif(not util.find_spec("monai"), reason="MONAI is measured where it is installed")
def test_monai_asks_as_many_windows_of_a_network_of_as_many_parameters(asked, race_here):
    found = sliding.compare(asked, against=True, rounds=2, seconds=0)
    ours, theirs = found[sliding.OURS], found[sliding.PEER]
    assert ours["parameters"] == theirs["parameters"]
    assert theirs["cubes"] == WINDOWS
    best = theirs["step"] / ours["step"]
    assert found["ratios"]["step"]["best"] == pytest.approx(best)
    assert f"| {best:.2f} (" in sliding.page(found)


@pytest.mark.parametrize("on_cpu", [True, False])
def test_what_is_measured_fills_its_batches(on_cpu):
    """Neither is slowed down by windows that nobody asked for."""
    asked = sliding.settings(on_cpu)
    axes = zip(asked.size, asked.config.window, strict=True)
    counts = [len(inference.starts(n, w, asked.config.inference.overlap)) for n, w in axes]
    assert np.prod(counts) % asked.config.inference.batch_size == 0
