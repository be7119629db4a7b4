"""Which module may import which, read from the source with `ast`: the arrows of the design."""

import ast
import graphlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

# Each line may import from itself and from the lines above it. `rubik_jax/__init__.py` is the table
# of contents: it may import from all but `main`, and no room imports from it.
ROOMS = (
    "allocator errors spelling types",
    "failures interrupts",
    "proxy",
    "models",
    "losses metrics augment",
    "data",
    "tasks",
    "optim transfer inference report",
    "step parallel",
    "checkpoints claims workdir knobs",
    "embed evaluate judge keeping train predict export",
    "modes arguments manual",
    "main",
)
# Where flags and configs are read; below, they are handed down as values.
READERS = ("rubik_jax.main", "rubik_jax.arguments", "rubik_jax.modes", "configs")
FLOORS = {room: floor for floor, line in enumerate(ROOMS) for room in line.split()}

Sources = dict[str, str]
"""Dotted name of a module -> its text; a package goes by its own name."""


def read() -> Sources:
    files = [file for top in ("rubik_jax", "configs") for file in (REPOSITORY / top).rglob("*.py")]
    parts = {file: file.relative_to(REPOSITORY).with_suffix("").parts for file in files}
    return {".".join(parts[file]).removesuffix(".__init__"): file.read_text() for file in files}


def imported(source: str) -> Iterator[str]:
    """Dotted names that a module imports, wherever in it the import stands (TYPE_CHECKING too)."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def within(name: str, *packages: str) -> bool:
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def arrows(sources: Sources) -> dict[str, set[str]]:
    """Module of ours -> the modules of ours that it imports, or imports a name from."""

    def owner(name: str) -> str:
        while name not in sources and "." in name:
            name = name.rpartition(".")[0]
        return name

    ours = {module: source for module, source in sources.items() if within(module, "rubik_jax")}
    return {
        module: {
            owner(name)
            for name in imported(source)
            if within(name, "rubik_jax") and name != "rubik_jax.__version__"
        }
        for module, source in ours.items()
    }


def floor(module: str) -> int:
    return FLOORS[module.split(".")[1]] if "." in module else FLOORS["main"] - 1


def wrong_directions(sources: Sources) -> Iterator[str]:
    graph = arrows(sources)
    homeless = {module for module in graph if "." in module and module.split(".")[1] not in FLOORS}
    yield from (f"{module} is in no room" for module in homeless)
    for module in graph.keys() - homeless:
        for target in graph[module] - homeless:
            if target == "rubik_jax" or floor(target) > floor(module):
                yield f"{module} imports {target}"


def circles(sources: Sources) -> Iterator[str]:
    try:
        graphlib.TopologicalSorter(arrows(sources)).prepare()
    except graphlib.CycleError as error:
        yield " <- ".join(error.args[1])


def relative_imports(sources: Sources) -> Iterator[str]:
    for module, source in sources.items():
        yield from (f"{module} imports {n}" for n in imported(source) if n.startswith("."))


def device_imports(sources: Sources) -> Iterator[str]:
    for module, source in sources.items():
        for name in imported(source):
            on_host = within(module, "rubik_jax.data", "configs")
            device = within(name, "jax", "jaxlib", "flax", "optax", "orbax", "chex")
            grain = within(name, "grain") and module != "rubik_jax.data.loader"
            if (on_host and device) or grain:
                yield f"{module} imports {name}"


def command_lines(sources: Sources) -> Iterator[str]:
    for module, source in sources.items():
        if within(module, *READERS):
            continue
        for name in imported(source):
            if within(name, "absl.flags", "absl.app", "ml_collections", "sys.argv", "argparse"):
                yield f"{module} imports {name}"
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.argv":
                yield f"{module} reads sys.argv"


# What is usable without a config, and so names its own arguments; `errors.knobs` names the knobs.
LEAVES = (
    *("proxy", "models", "losses", "metrics", "augment"),
    *("optim", "transfer", "inference", "parallel"),
)


def named_knobs(sources: Sources) -> Iterator[str]:
    leaves = [f"rubik_jax.{leaf}" for leaf in LEAVES]
    for module, source in sources.items():
        if not within(module, *leaves):
            continue
        for node in ast.walk(ast.parse(source)):
            text = isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value
            if text and re.search(r"\bconfig\.\w", text):
                yield f"{module} says {text.strip().splitlines()[0]!r}"
            elif isinstance(node, ast.alias) and node.name == "UserError":
                yield f"{module} imports UserError"


RULES = (wrong_directions, circles, relative_imports, device_imports, command_lines, named_knobs)


@pytest.mark.parametrize("rule", RULES)
def test_code_keeps_the_rule(rule):
    sources = read()
    assert "rubik_jax.errors" in sources
    assert not sorted(rule(sources))


LATER = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from rubik_jax.train import fit"


@pytest.mark.parametrize(
    ("rule", "sources"),
    [
        (
            wrong_directions,
            {"rubik_jax.proxy": "from rubik_jax import data", "rubik_jax.data": ""},
        ),
        (wrong_directions, {"rubik_jax.data.store": LATER, "rubik_jax.train": ""}),
        (wrong_directions, {"rubik_jax.tasks": "from rubik_jax import fit", "rubik_jax": ""}),
        (wrong_directions, {"rubik_jax": "import rubik_jax.main", "rubik_jax.main": ""}),
        (wrong_directions, {"rubik_jax.utils": ""}),
        (
            circles,
            {
                "rubik_jax.models": "from rubik_jax.models.vgg3d import VGG3D",
                "rubik_jax.models.vgg3d": "def f():\n    from rubik_jax.models import make_encoder",
            },
        ),
        (relative_imports, {"rubik_jax.train": "from .optim import make"}),
        (device_imports, {"rubik_jax.data.store": "import jax.numpy as jnp"}),
        (device_imports, {"configs.pretrain": "from flax import linen"}),
        (device_imports, {"rubik_jax.train": "import grain"}),
        (command_lines, {"rubik_jax.train": "from absl import flags"}),
        (command_lines, {"rubik_jax.train": "import ml_collections as ml"}),
        (command_lines, {"rubik_jax.train": "import sys\nsteps = sys.argv[1]"}),
        (named_knobs, {"rubik_jax.proxy.grid": "raise E(f'config.proxy.gap is {gap}')"}),
        (named_knobs, {"rubik_jax.optim": "'''As `config.optim` has it.'''"}),
        (named_knobs, {"rubik_jax.losses": "from rubik_jax.errors import UserError"}),
    ],
)
def test_breach_of_the_rule_is_seen(rule, sources):
    assert list(rule(sources))


def test_data_and_configs_load_without_jax():
    names = [name for name in sorted(read()) if within(name, "rubik_jax.data", "configs")]
    names.remove("rubik_jax.data.loader")
    load = (
        "import importlib, sys\n"
        f"for name in {names}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'jax' not in sys.modules, f'{name} brings jax in'\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", load], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_importing_changes_nothing_of_the_process(tmp_path):
    names = sorted(read())
    load = (
        "import importlib, json, locale, logging, os, resource, signal, sys, warnings\n"
        "import absl.logging, av, grain, jax, matplotlib, nibabel, orbax.checkpoint, rich\n"
        "import sklearn, SimpleITK, tensorboardX, tensorflow_datasets\n"
        "import sklearn.linear_model, sklearn.exceptions, matplotlib.pyplot\n"
        "def state():\n"
        "    loggers = ('', 'absl', 'jax', 'nibabel', 'nibabel.global', 'libav', 'matplotlib')\n"
        "    logs = [(logging.getLogger(n).level, *map(str, logging.getLogger(n).handlers),\n"
        "        *map(str, logging.getLogger(n).filters)) for n in loggers]\n"
        "    display = SimpleITK.ProcessObject.GetGlobalWarningDisplay()\n"
        "    signals = [str(signal.getsignal(n)) for n in (2, 10, 15)]\n"
        "    return [list(map(str, warnings.filters)), logs, display, av.logging.get_level(),\n"
        "        dict(os.environ), signals, locale.setlocale(locale.LC_ALL), os.getcwd(),\n"
        "        resource.getrlimit(resource.RLIMIT_NOFILE), str(jax.config.values),\n"
        "        nibabel.__version__, os.listdir('.'), sys.stdout.errors]\n"
        "before = state()\n"
        f"for name in {names}:\n"
        "    importlib.import_module(name)\n"
        "    assert state() == before, f'{name} changes the process that imports it'\n"
    )
    run = subprocess.run(
        [sys.executable, "-B", "-c", load],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert not list(tmp_path.iterdir())


# What only some runs need, or only later: each takes from a tenth of a second to several. nibabel
# itself imports pydicom where that is installed, which brings Pillow.
HEAVY = (
    *("orbax", "grain", "tensorboardX", "matplotlib", "scipy.ndimage", "scipy.spatial"),
    *("sklearn", "SimpleITK", "av", "tensorflow_datasets"),
)
WRITERS = ("orbax", "tensorboardX")  # of a run's checkpoints and records, from its first moment


@pytest.mark.parametrize(
    ("module", "spared"),
    [
        ("rubik_jax", ("jax", "flax", "optax", *HEAVY)),
        ("rubik_jax.main", HEAVY),
        # A run begins with its data and its step; drawing and judging come later.
        ("rubik_jax.modes.training", tuple(n for n in HEAVY if n not in WRITERS)),
    ],
)
def test_what_is_heavy_loads_when_it_is_used(module, spared):
    run = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {*spared} & {*run.stdout.split()}
