"""Measures how fast networks are trained and asked, beside PyTorch and MONAI, in one run.

python -m benchmarks.speed [--only pretrain,finetune,inference] [--cases haemorrhage,brats,small]
    [--nets vgg,resnet] [--dtypes float32,bfloat16] [--against torch,monai] [--json FILE]
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from benchmarks import cases, contest, machine, page, sliding
from benchmarks.contest import Call

OURS, TWIN = "rubik_jax", "PyTorch"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures one case after another, then prints the tables and writes the JSON file."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _options(arguments)
    command = " ".join(["python -m benchmarks.speed", *arguments])
    found = machine.describe() | {"command": command}
    found["training"] = []
    for about, config in _asked(options):
        print(page.label(about), "...", file=sys.stderr)
        batch = options.batch or cases.batch_size(about["case"], config, on_cpu=found["on_cpu"])
        found["training"].append(about | train(config, about["dtype"], batch, options))
        _write(found, options.json)
    print(page.training(found))
    if "inference" in options.only:
        against = "monai" in options.against
        found["inference"] = sliding.measure(against, options.rounds, options.keep_memory)
        _write(found, options.json)
        print(f"\n{sliding.page(found['inference'])}")


def train(config: ConfigDict, dtype: str, batch: int, options: argparse.Namespace) -> dict:
    """All figures of a config's step, in processes that share what the first one compiles."""
    workers, pace = config.data.workers, (options.rounds, options.seconds)
    with tempfile.TemporaryDirectory() as cache:
        kept = contest.SHARED | {"JAX_COMPILATION_CACHE_DIR": cache}
        still = cases.still(config)
        cold = contest.apart(Call("benchmarks.training:compiling", (still, dtype, batch), kept))
        figures = (config.copy_and_resolve_references(), dtype, batch, workers, *pace)
        found = contest.apart(Call("benchmarks.figures:measure", figures, kept))
        found["compiling"] = {"cold": cold, "cached": found["compiling"]}
        if "torch" in options.against:
            name = "pretraining" if config.task == "pretrain" else "finetuning"
            step = (still, dtype, batch, workers)
            factories = {
                OURS: Call(f"benchmarks.training:{name}", step, kept),
                TWIN: Call(f"benchmarks.twin:{name}", step, kept, options.keep_memory),
            }
            raced = contest.race(factories, *pace)
            found["race"] = raced | {"ratios": contest.ratios(raced[OURS], raced[TWIN])}
    return found


def _asked(options: argparse.Namespace) -> Iterator[tuple[dict[str, str], ConfigDict]]:
    """What is to be trained, in words, and its config."""
    for case in options.cases:
        for net in options.nets:
            configs = {}
            if "pretrain" in options.only and case in cases.PRETRAINING:
                configs["pretrain", ""] = cases.PRETRAINING[case](net)
            if "finetune" in options.only and case in cases.FINETUNING:
                for head in cases.HEADS:
                    configs["finetune", head] = cases.FINETUNING[case](head, net)
            for (task, head), config in configs.items():
                for dtype in options.dtypes:
                    about = {"task": task, "case": case, "net": net, "head": head, "dtype": dtype}
                    yield about, config


def _write(found: dict, file: Path | None) -> None:
    """Writes the figures there are, so that those of a run that is cut short aren't lost."""
    if file:
        file.write_text(json.dumps(found, indent=2) + "\n")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    choices = {
        "only": ("pretrain", "finetune", "inference"),
        "cases": tuple(cases.PRETRAINING),
        "nets": ("vgg", "resnet"),
        "dtypes": ("float32", "bfloat16"),
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, known in choices.items():
        parser.add_argument(f"--{name}", default=",".join(known), help="of these, all by default")
    parser.add_argument("--against", default="", help="torch for training, monai for inference")
    contest.add_memory(parser)
    parser.add_argument("--rounds", type=int, default=5, help="of which the best counts")
    parser.add_argument("--seconds", type=float, default=contest.SECONDS, help="of a turn at least")
    parser.add_argument("--batch", type=int, help="volumes of a step, instead of what suits")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args(arguments)
    choices["against"] = ("torch", "monai")
    for name, known in choices.items():
        asked = [each for each in getattr(options, name).split(",") if each]
        setattr(options, name, asked)
        if not {*asked} <= {*known}:
            parser.error(f"--{name} is {','.join(asked)}; expected some of {','.join(known)}")
    if options.only == ["finetune"] and not {*options.cases} & {*cases.FINETUNING}:
        parser.error(f"--cases for finetune are some of {','.join(cases.FINETUNING)}")
    return options


if __name__ == "__main__":
    main()
