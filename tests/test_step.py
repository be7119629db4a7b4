"""Windows that the step draws from a resident cohort go with their masks and classes."""

import jax
import jax.numpy as jnp
import numpy as np

from rubik_jax.data import loader
from rubik_jax.step import draw_example

WINDOW = (3, 4, 2)


def resident() -> dict[str, jnp.ndarray]:
    """Three cases on one device whose masks repeat their voxels; the last case has no place."""
    examples = []
    for case, shape in enumerate([(5, 6, 4), (2, 7, 3), (6, 5, 5)]):
        voxels = (1000 * case + np.arange(np.prod(shape)).reshape(shape)).astype(np.int16)
        places = np.array([shape], np.int32) - 1 if case < 2 else np.zeros((0, 3), np.int32)
        examples.append(
            {
                "window": voxels[..., None],
                "label": voxels,
                "places": places,
                "target": np.int32(case),
            }
        )
    held = loader.resident(examples, window=WINDOW, shards=1)
    return {name: jnp.asarray(array[0]) for name, array in held.items()}


def draw(foreground: float, count: int = 200) -> dict[str, np.ndarray]:
    keys = jax.random.split(jax.random.key(0), count)
    draw_all = jax.jit(jax.vmap(draw_example, (0, None, None, None)), static_argnums=(2, 3))
    drawn = draw_all(keys, resident(), WINDOW, foreground)
    return {name: np.asarray(array) for name, array in drawn.items()}


def test_a_window_brings_the_mask_and_the_class_of_its_own_case():
    drawn = draw(0.0)
    assert set(drawn) == {"window", "label", "target"}
    inside = drawn["label"] != loader.IGNORED
    np.testing.assert_array_equal(drawn["label"][inside], drawn["window"][..., 0][inside])
    np.testing.assert_array_equal(drawn["target"], drawn["window"].max(axis=(1, 2, 3, 4)) // 1000)
    assert set(drawn["target"]) == {0, 1, 2}
    # The second case is one voxel narrower than the window, and the voxel added is ignored.
    assert (~inside[drawn["target"] == 1]).any() and inside[drawn["target"] != 1].all()


def test_a_window_holds_a_labelled_voxel_where_that_is_asked_for():
    last = {0: 5 * 6 * 4 - 1, 1: 1000 + 2 * 7 * 3 - 1}
    for foreground in (0.0, 1.0):
        drawn = draw(foreground)
        for case, voxel in last.items():
            of = drawn["label"][drawn["target"] == case]
            share = (of == voxel).any(axis=(1, 2, 3)).mean()
            assert share == 1 if foreground else share < 0.6
    places = drawn["window"][drawn["target"] == 2][:, 0, 0, 0, 0]
    assert len(np.unique(places)) > 5
