"""What a program frees, the next call of it finds again."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from rubik_jax import allocator
import rubik_jax.main  # as the command does, which calls it then
if sys.argv[1] == "kept":
    allocator.keep_freed_memory()
import jax, jax.numpy as jnp

@jax.jit
def work(x):  # 64 MiB and 128 MiB that live as long as the call
    once = jax.lax.optimization_barrier(jnp.tile(x, (2, 1)))
    twice = jax.lax.optimization_barrier(jnp.tile(once, (2, 1)))
    return twice.sum(axis=0)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

x = jnp.ones((2**11, 2**12))
for _ in range(3):
    work(x).block_until_ready()
before = faults()
for _ in range(4):
    work(x).block_until_ready()
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts what is asked of it here")
def test_a_step_asks_the_system_for_no_memory_once_it_has_it():
    def asked(how: str) -> int:
        command = [sys.executable, "-c", PROGRAM, how]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert asked("kept") < 0.1 * asked("not")
