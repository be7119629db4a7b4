"""The figures of training as tables in words."""

from collections.abc import Callable, Iterator, Sequence

from benchmarks import machine

Row = dict

SPLIT = ("host", "transfer", "scramble", "forward", "backward", "update")


def training(found: dict) -> str:
    """The tables, below a line on what was measured on."""
    lines = [machine.line(found)]
    rows = found["training"]
    for title, columns in TABLES.items():
        lines += ["", *_table(title, columns, rows)] if rows else []
    raced = [row for row in rows if "race" in row]
    lines += ["", *_table(*RACE, raced)] if raced else []
    return "\n".join(lines)


def label(row: Row) -> str:
    """What was trained, e.g. "pretrain brats, vgg, float32"."""
    head = f" {row['head']}" if row["head"] else ""
    return f"{row['task']} {row['case']}, {row['net']}{head}, {row['dtype']}"


def _table(
    title: str, columns: dict[str, Callable[[Row], str]], rows: Sequence[Row]
) -> Iterator[str]:
    yield f"**{title}**"
    yield ""
    yield f"| | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for row in rows:
        yield f"| {label(row)} | {' | '.join(cell(row) for cell in columns.values())} |"


def _number(value: float) -> str:
    return f"{value:.4g}" if value < 1e4 else f"{value:.0f}"


def _ms(name: str) -> Callable[[Row], str]:
    return lambda row: _number(row["ms"][name]) if name in row["ms"] else ""


def _ratio(kind: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        it = row["race"]["ratios"][kind]
        return f"{it['best']:.2f} ({it['least']:.2f} to {it['most']:.2f})"

    return cell


def _seconds(who: str, kind: str) -> Callable[[Row], str]:
    return lambda row: _number(row["race"][who][kind] * 1e3)


def _puzzle(row: Row) -> str:
    ms = row["ms"]
    return f"{ms['scramble'] / ms['step']:.1%}" if "scramble" in ms else ""


def _device_memory(row: Row) -> str:
    peak = row["memory"].get("device_bytes")
    return f"{peak / 2**20:.0f}" if peak else ""


TABLES = {
    "Rates, and ms of a step: streamed, resident on the device, on one batch held there": {
        "batch": lambda row: str(row["batch"]),
        "parameters": lambda row: str(row["parameters"]),
        "cubes/s": lambda row: f"{row['cubes_per_second']:.4g}" if row["cubes_per_second"] else "",
        "volumes/s": lambda row: f"{row['volumes_per_second']:.4g}",
        "streamed": _ms("step"),
        "resident": _ms("resident"),
        "held": _ms("bare"),
    },
    "Where a step's time goes, ms, each part alone; beside it the random changes of windows": {
        **{name: _ms(name) for name in SPLIT},
        "puzzle's share": _puzzle,
        "changes": _ms("augment"),
    },
    "Operations, memory and compilation": {
        "GFLOP a step": lambda row: _number(row["operations"]["flops"] / 1e9),
        "GFLOP/s": lambda row: _number(row["operations"]["flops_per_second"] / 1e9),
        "ceiling, GFLOP/s": lambda row: _number(row["operations"]["ceiling"] / 1e9),
        "MFU": lambda row: f"{row['operations']['mfu']:.1%}",
        "program, MiB": lambda row: f"{row['memory']['program_bytes'] / 2**20:.0f}",
        "process, MiB": lambda row: f"{row['memory']['process_bytes'] / 2**20:.0f}",
        "device, MiB": _device_memory,
        "compiled in s": lambda row: f"{row['compiling']['cold']:.3g}",
        "again": lambda row: f"{row['compiling']['cached']:.3g}",
    },
}
RACE = (
    "Beside the twin in PyTorch, taking turns: how many times its rate, best of the rounds (least "
    "to most of a round), and ms of a step",
    {
        "end to end": _ratio("step"),
        "bare": _ratio("bare"),
        "ours": _seconds("rubik_jax", "step"),
        "ours, bare": _seconds("rubik_jax", "bare"),
        "PyTorch": _seconds("PyTorch", "step"),
        "PyTorch, bare": _seconds("PyTorch", "bare"),
    },
)
