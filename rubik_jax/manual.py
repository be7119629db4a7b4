"""What `--help` prints: how each mode is used, what the flags do, and the knobs of a config."""

import io
import re
import tokenize
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

COMMAND = "python -m rubik_jax.main"


class Usage(NamedTuple):
    """How a mode is used.

    Attributes:
        purpose: in one line.
        examples: what stands behind the command, each a line or several.
        about: lines on what is read, and what is written where.
    """

    purpose: str
    examples: tuple[str, ...]
    about: tuple[str, ...]


USAGES = {
    "train": Usage(
        "pre-trains or fine-tunes a network, or resumes a run, then evaluates it; the default",
        (
            "--config=configs/pretrain.py:cohort=folder --workdir=RUN --config.data.path=SCANS",
            "--config=configs/segment.py:cohort=folder --workdir=RUN2 --config.init_from=RUN\n"
            '--config.data.path=SCANS --config.data.masks="**/*_mask.nii.gz"',
        ),
        (
            "Writes the run into --workdir: config.json, checkpoints, metrics.jsonl, report.html.",
            "The same command again resumes; with --dry_run it says what training would take.",
        ),
    ),
    "prepare": Usage(
        "reads a cohort, says what is in it and what is wrong, and fills the store",
        (
            "--mode=prepare --dry_run --config=configs/pretrain.py:cohort=folder --workdir=RUN\n"
            "--config.data.path=SCANS",
        ),
        (
            "Writes the store (config.data.store) and --workdir/data_report.html;",
            "with --dry_run it writes nothing and says what preparing would take.",
        ),
    ),
    "tables": Usage(
        "runs every cell of the paper's tables on a cohort, and writes the tables",
        (
            "--mode=tables --config=configs/tables.py:cohort=folder --workdir=PLAN\n"
            "--config.data.path=SCANS --config.data.labels=classes.csv",
        ),
        (
            "Writes tables.html, tables.md and a run for each cell into --workdir.",
            "The same command again goes on; with --dry_run it says the plan and its time.",
        ),
    ),
    "evaluate": Usage(
        "evaluates a run again, or its best checkpoint on other labelled cases",
        (
            "--mode=evaluate --workdir=RUN",
            "--mode=evaluate --workdir=RUN --config.data.path=OTHERS --output=FOLDER",
        ),
        (
            "Takes no --config: the run holds its own, of which config.data.path and the like,",
            "config.inference and config.evaluate may be overridden, with --output.",
            "Writes results.json, cases.csv and report.html into --workdir, or into --output.",
        ),
    ),
    "predict": Usage(
        "segments or classifies scans by a run's best checkpoint",
        ("--mode=predict --workdir=RUN --input=SCANS --output=FOLDER",),
        (
            "Takes no --config. --input is a scan, or a folder of them; --output gets a mask for",
            "each (.nii.gz, on the scan's own grid), or predictions.csv with each case's class.",
        ),
    ),
    "embed": Usage(
        "writes the encoder's features of every case, and what probes make of them",
        (
            "--mode=embed --workdir=RUN",
            "--mode=embed --workdir=RUN --config.data.labels=classes.csv --output=FOLDER",
        ),
        (
            "Takes no --config. Writes embeddings.npz, embeddings.csv and, where cases have",
            "classes, probe.json into --workdir/embeddings, or into --output.",
        ),
    ),
}

FLAGS = {
    "--config=FILE.py[:ARGUMENTS]": "train, prepare, tables: the experiment, a file of configs/;\n"
    "arguments choose structure: configs/pretrain.py:cohort=folder,net=resnet,debug",
    "--config.KNOB=VALUE": "one of its knobs; each stands in configs/ with a comment, the most\n"
    "important ones in docs/knobs.md; --config=FILE.py --help lists them all",
    "--workdir=FOLDER": "the run's folder",
    "--mode=MODE": "one of those above",
    "--dry_run": "train, prepare, tables: says what it would take, and does nothing",
    "--input=SCAN_OR_FOLDER": "predict: what to predict",
    "--output=FOLDER": "predict, evaluate, embed: where what is found goes",
    "--help, --version": "this text, with --mode=MODE that mode's; the version",
}
STATUSES = {
    "0": "done",
    "1": "the run failed: it diverged, or disk or memory ran out; the sentence says what to do",
    "2": "a mistake in what was given: one sentence on stderr, and nothing is half-written",
    "130, 143, 138": "interrupted by SIGINT, SIGTERM, SIGUSR1; the same command goes on",
}


def usage(mode: str = "") -> str:
    """The help text; of one mode where one is named."""
    chosen = {mode: USAGES[mode]} if mode else USAGES
    parts = [f"usage: {COMMAND} [--mode=MODE] --workdir=FOLDER [--FLAG=VALUE ...]"]
    for name, of in chosen.items():
        lines = [f"--mode={name}", f"  {of.purpose}"]
        lines += [_example(each) for each in of.examples]
        parts.append("\n".join([*lines, *(f"  {line}" for line in of.about if mode)]))
    parts += ["flags\n" + _listed(FLAGS), "exit status\n" + _listed(STATUSES, 15)]
    return "\n\n".join(parts)


def short() -> str:
    """The modes in a line each, and where to read on."""
    lines = [f"usage: {COMMAND} [--mode=MODE] --workdir=FOLDER [--FLAG=VALUE ...]"]
    lines += [f"  --mode={name:9} {of.purpose}" for name, of in USAGES.items()]
    return "\n".join([*lines, "  --help           examples, flags and exit statuses"])


def config(about: str, values: Mapping[str, Any], sources: Iterable[str]) -> str:
    """What a config is for, and its knobs with their values and comments, a line each.

    Args:
        about: the docstring of its file.
        values: by their dotted names.
        sources: texts of the files that they are set in, such as configs/common.py.
    """
    comments = {}
    for source in sources:
        comments |= _comments(source)
    lines = []
    for name, value in values.items():
        parts = name.split(".")
        ends = (".".join(parts[i:]) for i in range(len(parts)))
        said = next((comments[end] for end in ends if end in comments), "")
        text = f"--config.{name}={value!r}"
        lines.append(f"{text:44}  # {said}" if said else text)
    # A docstring's lines that end in a backslash are one.
    about = re.sub(r" {4,}(?=--)", r" \\\n    ", about.strip())
    return "\n\n".join([about, "\n".join(lines)])


def _comments(source: str) -> dict[str, str]:
    """The comment on each `c.knob = ...`: behind it, or in the line before."""
    found, line, notes, before = {}, [], [], ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            notes.append(token.string.lstrip("# "))
        elif token.type == tokenize.NL:
            if not line:  # nothing but a comment, or an empty line
                before, notes = " ".join(notes), []
        elif token.type == tokenize.NEWLINE:
            target, _, value = "".join(line).partition("=")
            if target.startswith("c.") and value and target[2:] not in found:
                found[target[2:]] = " ".join(notes) or before
            line, notes, before = [], [], ""
        elif token.type not in (tokenize.INDENT, tokenize.DEDENT):
            line.append(token.string)
    return {name: said for name, said in found.items() if said}


def _example(text: str) -> str:
    first, *rest = text.split("\n")
    lines = [f"    {COMMAND} {first}", *(f"        {line}" for line in rest)]
    return " \\\n".join(lines)


def _listed(of: Mapping[str, str], width: int = 30) -> str:
    gap = "\n" + " " * (width + 2)
    return "\n".join(f"  {name:{width}}{said.replace(chr(10), gap)}" for name, said in of.items())
