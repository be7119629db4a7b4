"""What a measurement was taken on, in words."""

import datetime
import os
import platform
from importlib import metadata
from pathlib import Path

from benchmarks import contest

PACKAGES = (
    *("numpy", "nibabel", "grain", "jax", "jaxlib", "flax", "optax"),
    *("monai", "torch", "blosc2"),
)


def describe() -> dict:
    """The date, the machine, its devices, how busy it was at the start, and the versions.

    Packages that aren't installed have none.
    """
    installed = {each.name for each in metadata.distributions()}
    # Asked in another process, since one that knows its devices holds them.
    device = contest.apart(contest.Call("benchmarks.machine:device"))
    return device | {
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} CPU cores, {_memory():.0f} GiB of memory, {_system()}",
        "load": round(os.getloadavg()[0], 2),
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in PACKAGES if name in installed},
    }


def line(found: dict) -> str:
    """What `describe` found, for the head of a page."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    where = f"{found['machine']}, {found['device']}, load {found['load']}"
    return f"{found['date']}, {where}; {versions}"


def device() -> dict:
    """What JAX computes on: "device" in words, and whether that is "on_cpu"."""
    from rubik_jax import parallel

    return {"device": parallel.describe(), "on_cpu": parallel.on_cpu()}


def bytes_read() -> int:
    """What this process has had read from disk so far, readahead included."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["read_bytes"])


def _memory() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.platform(terse=True)
