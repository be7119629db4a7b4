"""Answers come back one for each window, and programs are kept for the next process."""

import os
import warnings
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from rubik_jax import parallel
from rubik_jax.errors import ArgumentError, UserError


def test_every_window_gets_its_own_answer():
    forward = parallel.mapped_response(
        lambda variables, windows: windows.sum(axis=(1, 2)) * variables["gain"],
        {"gain": jnp.float32(3)},
    )
    for count in (1, 3, 4):
        windows = np.random.default_rng(count).random((count, 2, 5, 4), np.float32)
        answers = forward(windows)
        assert isinstance(answers, np.ndarray)
        np.testing.assert_allclose(answers, windows.sum(axis=(1, 2)) * 3, rtol=1e-5)


@pytest.fixture
def nothing_kept():
    """jax as a user finds it who has named no place for compiled programs."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    compilation_cache.reset_cache()
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    compilation_cache.reset_cache()
    for name, value in before.items():
        jax.config.update(name, value)


def three_steps() -> tuple[np.ndarray, np.ndarray]:
    """What comes of a state that each step takes over, compiled as in a new process."""

    def step(state, batch, resident):
        del resident
        return (state[0] * 0.9 + batch, jnp.sin(state[1])), batch.sum()

    jax.clear_caches()
    state = parallel.replicate((jnp.arange(999, dtype=jnp.float32), jnp.ones((7, 5))))
    batch = parallel.replicate(jnp.linspace(0, 1, 999))
    compiled = parallel.mapped_step(step, state, batch, None)
    for _ in range(3):
        state, _ = compiled(state, batch, None)
    return parallel.unreplicate(state)


def test_kept_programs_are_found_and_give_the_same_bits(nothing_kept, tmp_path):
    heard = []

    def listen(event, **_):
        heard.append(event.rpartition("/")[2])

    jax.monitoring.register_event_listener(listen)
    with parallel.keep_compiled(tmp_path / "kept"):
        first = three_steps()
        kept = {file.name for file in (tmp_path / "kept").iterdir()}
        assert "cache_hits" not in heard
        again = three_steps()
    jax.monitoring.unregister_event_listener(listen)
    assert "cache_hits" in heard
    assert kept == {file.name for file in (tmp_path / "kept").iterdir()}
    jax.tree.map(np.testing.assert_array_equal, first, again)


@pytest.mark.parametrize("harm", ["torn", "no folder"])
def test_what_cannot_be_read_or_written_does_no_harm(nothing_kept, tmp_path, harm):
    expected = three_steps()
    filters = list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        held = parallel.keep_compiled(tmp_path / "kept")
        held.__enter__()
        if harm == "torn":
            three_steps()
            for file in (tmp_path / "kept").iterdir():
                file.write_bytes(file.read_bytes()[:100])
        else:
            (tmp_path / "kept").rmdir()
            (tmp_path / "kept").write_text("something else")
        jax.tree.map(np.testing.assert_array_equal, three_steps(), expected)
        held.__exit__(None, None, None)
    assert warnings.filters == filters


def test_programs_that_were_used_longest_ago_go_first(nothing_kept, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "KEPT", 25)
    for age, name in enumerate(("new-cache", "older-cache", "oldest-cache")):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, times=(1e9 - age, 1e9 - age))
    with parallel.keep_compiled(tmp_path):
        pass
    assert {file.name for file in tmp_path.iterdir()} == {"new-cache", "older-cache"}


def test_a_place_named_before_is_kept_to_and_that_of_another_user_not_used(
    nothing_kept, tmp_path, monkeypatch, capsys
):
    with monkeypatch.context() as others:
        others.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
        with parallel.keep_compiled(tmp_path):
            pass
    assert jax.config.jax_compilation_cache_dir is None
    assert "others can write into" in capsys.readouterr().out
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o775)
    with parallel.keep_compiled(tmp_path / "shared"):
        pass
    assert jax.config.jax_compilation_cache_dir is None
    assert "chmod go-w" in capsys.readouterr().out
    for folder in (tmp_path / "first", tmp_path / "second"):
        with parallel.keep_compiled(folder):
            pass
        assert Path(jax.config.jax_compilation_cache_dir) == tmp_path / "first"


def test_a_dry_run_and_a_mistake_leave_no_folder(nothing_kept, tmp_path):
    folder = tmp_path / "new" / "kept"
    with parallel.keep_compiled(folder, make=False):
        assert jax.config.jax_compilation_cache_dir is None
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError), parallel.keep_compiled(folder):
        three_steps()
        assert list(folder.iterdir())
        raise UserError("a mistake")
    assert not list(tmp_path.iterdir())


def test_a_platform_that_is_not_there_is_a_mistake(monkeypatch):
    for raised in (AssertionError(), RuntimeError("Unable to initialize backend 'cuda'")):

        def missing(raised=raised):
            if jax.config.jax_platforms:
                raise raised
            return [SimpleNamespace(platform="cpu")]

        monkeypatch.setattr(jax, "local_devices", missing)
        monkeypatch.setenv("JAX_PLATFORMS", "cuda")
        with pytest.raises(ArgumentError, match=r"JAX_PLATFORMS is 'cuda', .*expected cpu, or"):
            parallel.require_devices()


def test_a_copy_is_read_without_a_program_that_would_wait_in_line():
    arrays = parallel.replicate({"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.int32(7)})
    jax.block_until_ready(arrays)
    jax.clear_caches()
    compiled = []

    def listen(event, *_, **__):
        compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        found = parallel.unreplicate(arrays)
        assert not compiled
        assert arrays["a"][0].sum() == 15 and compiled  # it would have been heard
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    np.testing.assert_array_equal(found["a"], np.arange(6.0).reshape(2, 3))
    assert found["b"] == 7 and all(type(each).__module__ == "numpy" for each in found.values())


def test_the_state_is_donated():
    state, batch = parallel.replicate(jnp.ones(5)), parallel.replicate(jnp.ones(5))
    compiled = parallel.mapped_step(lambda s, b, r: (s + b, b.sum()), state, batch, None)
    compiled(state, batch, None)
    assert state.is_deleted() and not batch.is_deleted()
