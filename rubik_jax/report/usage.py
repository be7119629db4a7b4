"""How to go on from a run: its encoder for other work, its answers for other scans."""

import shlex
from html import escape
from pathlib import Path
from typing import Any

from rubik_jax.report import markup

ANSWERS = {
    "segment": "a mask for each scan, on that scan's own grid",
    "classify": "a table with the probabilities of the classes for each scan",
}


def section(folder: Path, description: dict[str, Any]) -> str:
    """What to type, as HTML.

    Args:
        folder: the run's.
        description: what the evaluated checkpoint says of itself.
    """
    task = description["config"]["task"]
    answers = _predict(folder, ANSWERS[task]) if task in ANSWERS else ""
    return answers + _encoder(folder)


def _predict(folder: Path, what: str) -> str:
    command = (
        f"python -m rubik_jax.main --mode=predict --workdir={shlex.quote(str(folder))} "
        "--input=SCANS --output=FOLDER"
    )
    return markup.section(
        "Other scans",
        f"<pre>{escape(command)}</pre>",
        f"<p>SCANS is a file or a folder; it writes {what}.</p>",
    )


def _encoder(folder: Path) -> str:
    load = f"module, variables = rubik_jax.load_encoder({str(folder)!r})"
    return markup.section(
        "The encoder",
        f"<pre>import rubik_jax\n\n{escape(load)}\n"
        "features = module.apply(variables, x, False)[-1]  # x: [batch, x, y, z, channel]</pre>",
        "<p>It is that of <code>best/</code>, the checkpoint that scored highest on validation "
        "cases; where nothing is held out, that of <code>checkpoints/</code>, the latest, from "
        "which the same command goes on.</p>",
    )
