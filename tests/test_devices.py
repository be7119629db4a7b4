"""Several devices give what one gives; fake ones, each test in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[1]

# Blocks every step: fake devices on few cores can wait for each other for ever otherwise.
PROGRAM = """
import json, re, sys
import jax, jax.numpy as jnp, numpy as np
from rubik_jax import parallel
from rubik_jax.optim import make_optimiser
from rubik_jax.step import initialise, make_settings, make_state, make_step
from rubik_jax.tasks.pretrain import pretrain
from tests.tasks.supervised import STILL

norm, batch = sys.argv[1], 8
task = pretrain(
    channels=2, seed=0,
    proxy_options=dict(counts=(2, 1, 2), cube=(5, 4, 4), gap=(1, 0, 1), jitter=(1, 0, 1),
        orders="greedy", num_orders=6, turns="half", masking=0.5, curriculum=dict(hold=0, ramp=0)),
    model=dict(projection=8, heads="joint", hidden=8, encoder=dict(name="vgg", widths=(4, 8),
        convs=(1, 1), strides=((1, 1, 1), (2, 2, 2)), norm=norm, dtype="float32")),
    loss=dict(alpha=0.5, beta=0.5, gamma=0.5, reduction="mean"), augmentation=STILL,
)
optimiser = make_optimiser(name="sgd", weight_decay=0.0, momentum=0.9, clip=0.0, steps=4,
    schedule="constant", rate=0.1, warmup=0, final=0.0, drops=(), drop_factor=0.1)
step = make_step(task, optimiser, per_device=parallel.per_device(batch, 1), accumulate=1,
    steps_per_call=1, unroll=True)
settings = parallel.replicate(make_settings(0, optimiser))
state = parallel.replicate(make_state(initialise(task, 0), optimiser))
rng, compiled, out = np.random.default_rng(0), None, []
for number in range(4):
    windows = rng.random((1, batch, *task.window, 2)).astype(np.float32)
    index = np.arange(batch, dtype=np.int32)[None]
    given = parallel.shard({"window": windows, "index": index}, axis=1)
    compiled = compiled or parallel.mapped_step(step, state, given, None, settings)
    state, metrics = jax.block_until_ready(compiled(state, given, None, settings))
    means = parallel.unreplicate(metrics)
    out.append({name: float(mean.total[0] / mean.count[0]) for name, mean in means.items()})
stats = [x.tolist() for x in jax.tree.leaves(parallel.unreplicate(state.batch_stats))]
reductions = len(re.findall(r" all-reduce(?:-start)?\\(", compiled.as_text()))
found = {"devices": parallel.count(), "metrics": out, "stats": stats, "reductions": reductions}
print(json.dumps(found))
"""

SLIDING = """
import json, sys
import jax.numpy as jnp, numpy as np
from rubik_jax import inference, parallel
from tests.test_inference import depends_on_place, plainly

forward = parallel.mapped_response(
    lambda variables, windows: depends_on_place(windows * variables["gain"]),
    {"gain": jnp.ones(())},
)
off = []
for size, batch_size, mirror in [((9, 9, 6), 5, (1,)), ((6, 4, 3), 16, ()), ((17, 5, 4), 1, ())]:
    volume = np.random.default_rng(0).random((*size, 1)).astype(np.float16)
    slabs = inference.sliding(forward, volume, window=(4, 4, 4), overlap=0.5, classes=2,
        batch_size=batch_size, mirror=mirror)
    found = np.concatenate([slab for _, slab in slabs])
    off.append(float(np.abs(found - plainly(volume, (4, 4, 4), 0.5, mirror)).max()))
answers = forward(np.ones((3, 4, 4, 4, 1), np.float32))
print(json.dumps({"devices": parallel.count(), "off": off, "answers": answers.shape}))
"""


def run(devices: int, program: str, *arguments: str) -> dict:
    flags = os.environ.get("XLA_FLAGS", "")
    flags += f" --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_eight_devices_train_like_one_by_one_reduction_a_step(norm):
    one, eight = run(1, PROGRAM, norm), run(8, PROGRAM, norm)
    assert (one["devices"], eight["devices"]) == (1, 8)
    # Batch norm's own statistics are reduced where they are needed, forward and backward.
    assert one["reductions"] == 0
    assert eight["reductions"] == 1 if norm == "group" else eight["reductions"] > 1
    for before, after in zip(one["metrics"], eight["metrics"], strict=True):
        assert before.keys() == after.keys()
        for name, value in before.items():
            np.testing.assert_allclose(after[name], value, rtol=2e-4, err_msg=name)
    assert bool(one["stats"]) == (norm == "batch")
    for mine, theirs in zip(one["stats"], eight["stats"], strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-4, atol=1e-6)


def test_several_devices_share_the_windows_of_a_volume_and_add_up_their_answers():
    found = run(3, SLIDING)
    assert found["devices"] == 3 and found["answers"] == [3, 4, 4, 4, 2]
    assert max(found["off"]) < 1e-5
