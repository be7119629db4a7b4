"""What a program frees, the next call of it finds again."""

import platform
import subprocess
import sys

import jax
import pytest

from rubik_jax import allocator

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


GLIBC = sys.platform == "linux" and platform.libc_ver()[0] == "glibc"

pytestmark = pytest.mark.skipif(
    not GLIBC or allocator._has_accelerator(),
    reason="memory is kept by glibc, without accelerators",
)


def test_more_than_an_int_of_bytes_is_kept_too():
    """By the address space that a process has mapped, which takes no memory."""
    program = """
import ctypes, pathlib, resource
from rubik_jax import allocator
allocator.keep_freed_memory()
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = (
    ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
)
there = c.malloc(5 * 2**29)
assert there, "no memory"
c.free(there)
print(int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize())
"""
    command = [sys.executable, "-c", program]
    assert (
        int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) > 5 * 2**29
    )


@pytest.mark.skipif(
    jax.__version_info__ >= (0, 12), reason="jax has large arrays mapped by itself from 0.12 on"
)
def test_a_step_asks_the_system_for_no_memory_once_it_has_it():
    def asked(how: str) -> int:
        command = [sys.executable, "-c", PROGRAM, how]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert asked("kept") < 0.1 * asked("not")
