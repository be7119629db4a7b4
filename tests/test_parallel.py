"""Answers come back one for each window, however many windows there are."""

import jax.numpy as jnp
import numpy as np

from rubik_jax import parallel


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
