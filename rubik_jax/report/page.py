"""The page of a run, `report.html`: one file that shows all there is to see, without a network."""

import json
import os
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from rubik_jax.errors import UserError
from rubik_jax.report import figures, records

REPORT = "report.html"

PARTS = {
    "validation": "the cases that the best checkpoint is chosen on",
    "test": "cases that were neither trained on nor chosen by",
    "train": "cases that were trained on, since nothing was held out",
    "blank": "cubes without content, which must score chance",
    "no_gap": "cubes cut without a gap; what it adds to the first column is owed to seams",
}

Numbers = dict[str, float]


def write(
    folder: Path,
    description: dict[str, Any],
    results: dict[str, Numbers],
    warnings: list[str],
    picture: dict[str, np.ndarray] | None = None,
) -> None:
    """Writes the page of a run, whole or not at all.

    Args:
        folder: the run's directory; its `metrics.jsonl` gives the curves.
        description: what the evaluated checkpoint says of itself.
        results: numbers by the part of the cohort or the probe; the first is the one that counts,
            and there may be none yet.
        warnings: sentences on what looks unhealthy.
        picture: what `figures.puzzle` draws.

    Raises:
        UserError: the folder can't be written.
    """
    measured = records.read(folder / "metrics.jsonl")
    sections = [
        _warnings(warnings) if results else "",
        _table(results, description) if results else "",
        _section("Curves", _curves(measured)) if measured else "",
        _section("One puzzle", _puzzle(picture)) if picture else "",
        _section("The encoder", _encoder(folder)),
        _section("The run", _run(description)),
    ]
    title = escape(folder.resolve().name)
    about = f"{description['config']['task']}, rubik_jax {description['versions']['rubik_jax']}"
    text = _PAGE.format(title=title, about=escape(about), style=_STYLE, body="\n".join(sections))
    temporary = folder / f"{REPORT}.tmp"
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, folder / REPORT)
    except OSError as error:
        raise UserError(f"{folder / REPORT} can't be written: {error.strerror}") from error


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>\n{content}\n</section>"


def _warnings(warnings: list[str]) -> str:
    if not warnings:
        return '<p class="good">Nothing looks unhealthy.</p>'
    items = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return f'<ul class="bad">{items}</ul>'


def _table(results: dict[str, Numbers], description: dict[str, Any]) -> str:
    """A row for each question; chance and majority stand beside the part that counts."""
    part, *probes = results
    numbers = results[part]
    columns = [part, "chance", "majority", *probes]
    head = "".join(f"<th>{escape(column.replace('_', ' '))}</th>" for column in columns)
    rows = ""
    for name in [key.removesuffix("_accuracy") for key in numbers if key.endswith("_accuracy")]:
        cells = [numbers.get(f"{name}_{kind}") for kind in ("accuracy", "chance", "majority")]
        cells += [results[probe].get(f"{name}_accuracy") for probe in probes]
        shown = "".join(f"<td>{'' if cell is None else f'{cell:.1%}'}</td>" for cell in cells)
        rows += f"<tr><th>{escape(name)}</th>{shown}</tr>\n"
    of = {name: PARTS[name] for name in results if name in PARTS}
    notes = "; ".join(f"<b>{escape(name.replace('_', ' '))}</b>: {of[name]}" for name in of)
    steps = f"step {description['step']} of {description['config']['steps']}"
    return _section(
        f"Accuracy at {steps}",
        f'<div class="wide"><table><tr><th></th>{head}</tr>\n{rows}</table></div>\n'
        f"<p>{numbers['examples']:.0f} windows. {notes}; <b>majority</b>: what the commonest "
        "answer would score.</p>",
    )


def _curves(measured: list[dict[str, Any]]) -> str:
    note = "Thin: training; bold: validation; dotted: chance"
    if len({record["freedom"] for record in measured if "freedom" in record}) > 1:
        note += "; shaded: the share of cubes that were free to turn in training"
    return f"<figure>{figures.curves(measured)}<figcaption>{note}.</figcaption></figure>"


def _puzzle(picture: dict[str, np.ndarray]) -> str:
    note = (
        "The planes through the middles of the cubes, upper cubes above; numbers name the cubes. "
        "A red frame: another cube belongs here, or it is still turned."
    )
    return f"<figure>{figures.puzzle(**picture)}<figcaption>{note}</figcaption></figure>"


def _encoder(folder: Path) -> str:
    load = f"module, variables = rubik_jax.load_encoder({str(folder)!r})"
    return (
        f"<pre>import rubik_jax\n\n{escape(load)}\n"
        "features = module.apply(variables, x, False)[-1]  # x: [batch, x, y, z, channel]</pre>\n"
        "<p>It is that of <code>best/</code>, the checkpoint with the highest accuracies on "
        "validation cases; where nothing is held out, that of <code>checkpoints/</code>, the "
        "latest, from which the same command goes on.</p>"
    )


def _run(description: dict[str, Any]) -> str:
    facts = "".join(f"<dt>{k}</dt><dd>{escape(v)}</dd>" for k, v in _facts(description).items())
    config = escape(json.dumps(description["config"], indent=2))
    return (
        f"<pre>{escape(description['command'])}</pre>\n<dl>{facts}</dl>\n"
        f"<details><summary>The whole config</summary><pre>{config}</pre></details>"
    )


def _facts(description: dict[str, Any]) -> dict[str, str]:
    """What of the config one wants to see at a glance."""
    config, split = description["config"], description["split"]
    data, optim, puzzle, model = (config[name] for name in ("data", "optim", "proxy", "model"))
    encoder, curriculum = model["encoder"], puzzle["curriculum"]
    cases = ", ".join(f"{len(names)} {part}" for part, names in split.items())
    orders = f"{puzzle['num_orders']} orders ({puzzle['orders']})"
    return {
        "cohort": f"{data['source']}, {data['path']}: {cases}",
        "puzzle": f"{_times(puzzle['counts'])} cubes of {_times(puzzle['cube'])} voxels, gap "
        f"{_times(puzzle['gap'])}; {'no orders' if puzzle['orders'] == 'none' else orders}; "
        f"turns: {puzzle['turns']}; masking: {puzzle['masking']:g}",
        "curriculum": f"no turns for {curriculum['hold']} steps, then more over "
        f"{curriculum['ramp']}"
        if any(curriculum.values())
        else "none",
        "network": f"{encoder['name']}, widths {'-'.join(map(str, encoder['widths']))}, norm "
        f"{encoder['norm']}, {encoder['dtype']}; {model['heads']} heads",
        "optimiser": f"{optim['name']}, rate {optim['rate']:g}, {optim['schedule']}; "
        f"{config['steps']} steps of {config['batch_size']}",
        "versions": ", ".join(f"{k} {v}" for k, v in description["versions"].items()),
    }


def _times(numbers: list[int]) -> str:
    return " × ".join(map(str, numbers))


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p>{about}</p>
{body}
</body>
</html>
"""

_STYLE = """
:root { color-scheme: light dark; --line: #d4d4d8; --soft: #f4f4f5; --faint: #52525b }
@media (prefers-color-scheme: dark) {
  :root { --line: #3f3f46; --soft: #27272a; --faint: #a1a1aa }
  body { background: #18181b; color: #e4e4e7 }
}
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem }
h1, h1 + p { margin: 0 } h2 { margin: 2.5rem 0 .75rem; font-size: 1.2rem }
p, figcaption, summary { color: var(--faint); font-size: .9rem }
.good, .bad { margin: 1rem 0; padding: .5rem 1rem; background: var(--soft); color: inherit }
.good { border-left: 4px solid #16a34a } .bad { border-left: 4px solid #ef4444 }
.bad { list-style: none } .bad li { margin: .25rem 0 }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem 1.25rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap }
th { font-weight: normal; color: var(--faint) } th:first-child { text-align: left; color: inherit }
td:nth-child(2) { font-weight: bold }
figure { margin: 0 } figcaption { margin-top: .75rem }
svg { display: block; max-width: 100%; height: auto; margin: 0 auto }
svg text { font-family: system-ui, sans-serif !important }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.25rem; font-size: .9rem }
dt { color: var(--faint) } dd { margin: 0 }
pre { padding: .75rem 1rem; background: var(--soft); font-size: .85rem; white-space: pre-wrap;
  overflow-wrap: anywhere }
"""
