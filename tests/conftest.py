"""What holds while tests run: the CPU, shapes checked at every annotated edge, no silent ranks."""

import os
from pathlib import Path

# Before jax is imported by anyone. Tests of several devices start a process of their own, so that
# the others run on the one device that users have.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["MPLBACKEND"] = "Agg"

import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_rank_promotion", "raise")
# An integer may stand where a float is asked for, as PEP 484 has it.
install_import_hook(
    "rubik_jax", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def hippocampus() -> Path:
    """The folder of a real cohort: `dataset.json`, `imagesTr`, `labelsTr` of small MR volumes."""
    data = Path(os.environ.get("RUBIK_DATA", REPOSITORY.parent / "shared" / "data"))
    folder = data / "hippocampus"
    if not (folder / "dataset.json").is_file():
        pytest.skip(f"no real scans in {folder}: RUBIK_DATA=FOLDER names where `hippocampus` lies")
    return folder


@pytest.fixture
def race_here(monkeypatch):
    """Has benchmarks race in this process, since another's start would take longer than all else.

    Every round takes the same; what contestants would set for their own process, they don't.
    """
    from benchmarks import contest
    from rubik_jax import allocator

    def raced(factories, rounds, seconds):
        found = {}
        for who, make in factories.items():
            it = make()
            spent = {kind: contest.turn(getattr(it, kind), seconds) for kind in contest.KINDS}
            kept = {name: getattr(it, name) for name in ("name", "parameters", "volumes", "cubes")}
            rounds_of = {kind: [t] * rounds for kind, t in spent.items()}
            found[who] = kept | spent | {"rounds": rounds_of}
        return found

    monkeypatch.setattr(contest, "race", raced)
    monkeypatch.setattr(allocator, "keep_freed_memory", lambda: None)
    for name, value in contest.SHARED.items():
        monkeypatch.setenv(name, value)
