"""Measures how fast whole volumes are segmented window by window, ours beside MONAI's, in one run.

python -m benchmarks.sliding [--against monai] [--rounds N] [--json FILE]
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from benchmarks import contest
from benchmarks.contest import SHARED, Call, Contestant
from configs import segment

OURS, PEER = "rubik_jax", "MONAI"


class Asked(NamedTuple):
    """What is segmented, and how.

    Attributes:
        config: of `configs/segment.py` with a U-Net, resolved.
        size: of the volume along x, y, z.
        channels: of the volume.
        classes: that are told apart.
    """

    config: ConfigDict
    size: tuple[int, int, int]
    channels: int
    classes: int

    def volume(self) -> np.ndarray:
        """Noise in the store's dtype, [x, y, z, c]."""
        rng = np.random.default_rng(0)
        return rng.random((*self.size, self.channels), np.float32).astype(np.float16)


def measure(against: bool, rounds: int, keep_memory: bool) -> dict:
    """Times whole volumes, and their windows alone.

    Args:
        against: whether MONAI takes turns with ours.
        rounds: of which the best counts.
        keep_memory: whether MONAI's process keeps freed memory, too.

    Returns:
        What was asked, in plain numbers and words; of "rubik_jax", and of "MONAI" where it is
        there, what `contest.race` tells: a "step" is a whole volume, "bare" its windows by the
        network alone, and "cubes" are the windows; and the "ratios" of both.
    """
    on_cpu = contest.apart(Call("rubik_jax.parallel:on_cpu", (), SHARED))
    return compare(settings(on_cpu), against, rounds, keep_memory=keep_memory)


def compare(
    asked: Asked,
    against: bool,
    rounds: int,
    seconds: float = contest.SECONDS,
    *,
    keep_memory: bool = False,
) -> dict:
    """As `measure`, of anything asked, in turns of so many seconds."""
    factories = {OURS: Call("benchmarks.sliding:ours", (asked,), SHARED)}
    if against:
        factories[PEER] = Call("benchmarks.sliding:monai", (asked,), SHARED, keep_memory)
    found: dict[str, Any] = contest.race(factories, rounds, seconds)
    if against:
        found["ratios"] = contest.ratios(found[OURS], found[PEER])
    config = asked.config
    return found | {
        "size": [*asked.size, asked.channels],
        "classes": asked.classes,
        "window": list(config.window),
        "widths": list(config.model.encoder.widths),
        "dtype": config.model.encoder.dtype,
        "overlap": config.inference.overlap,
        "batch": config.inference.batch_size,
    }


def page(found: dict) -> str:
    """The figures as a table in words."""
    size, window = ("x".join(map(str, found[name])) for name in ("size", "window"))
    lines = [
        "**Sliding windows**",
        "",
        f"A volume of {size} to {found['classes']} labels; U-Net of {found['widths']} channels in "
        f"{found['dtype']}; windows of {window}, {found['batch']} at a time, that overlap by "
        f"{found['overlap']:.0%}.",
        "",
        "| | windows | a volume, ms | its windows alone, ms | sliding adds |",
        "|---|---|---|---|---|",
    ]
    for who in (OURS, PEER):
        if it := found.get(who):
            whole, bare = it["step"] * 1e3, it["bare"] * 1e3
            more = f"{whole / bare - 1:.1%}"
            lines.append(f"| {it['name']} | {it['cubes']} | {whole:.4g} | {bare:.4g} | {more} |")
    if ratios := found.get("ratios"):
        cells = [
            f"{it['best']:.2f} ({it['least']:.2f} to {it['most']:.2f})"
            for it in (ratios["step"], ratios["bare"])
        ]
        lines.append(f"| times MONAI's rate | | {' | '.join(cells)} | |")
    return "\n".join(lines)


def ours(asked: Asked) -> Contestant:
    """`rubik_jax.inference.sliding`, from a volume on the host to labels there."""
    import jax

    from rubik_jax import allocator, inference, parallel
    from rubik_jax.modes.posing import build_task
    from rubik_jax.step import initialise

    allocator.keep_freed_memory()  # as the command does
    config, volume = asked.config, asked.volume()
    task = build_task(config, asked.channels, range(asked.classes))
    variables = initialise(task, config.seed)
    forward = parallel.mapped_response(task.respond, variables)
    how = config.inference
    options = {"window": task.window, "overlap": how.overlap, "batch_size": how.batch_size}

    windows, alone = [], []

    def answer(batch, flip):
        windows.append(batch.shape[0] * batch.shape[1])
        alone.append(batch)
        return forward.answer(batch, flip)

    def step(forward=forward) -> np.ndarray:
        slabs = inference.sliding(forward, volume, classes=asked.classes, labels=True, **options)
        return np.concatenate([slab for _, slab in slabs])

    def bare() -> None:
        for batch in alone:
            jax.block_until_ready(forward.answer(batch, None))

    step(forward._replace(answer=answer))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    return Contestant(OURS, parameters, 1, sum(windows), step, bare, lambda: None)


def monai(asked: Asked) -> Contestant:
    """`monai.inferers.sliding_window_inference` as its users call it, likewise.

    It adds up logits, which spares it the softmax, all on the network's device.
    """
    import torch
    from monai.inferers import sliding_window_inference

    from benchmarks.twin_networks import Segmenter, UNetDecoder, make_encoder

    config, it, how = asked.config, asked.config.model.encoder, asked.config.inference
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # as XLA does where nothing else is asked for
        torch.backends.cudnn.benchmark = True
    network = Segmenter(
        make_encoder(it.name, asked.channels, it.widths, it.convs, it.strides, skips=True),
        UNetDecoder(it.widths, it.strides, asked.classes, config.model.convs),
    )
    network.eval().to(device, memory_format=torch.channels_last_3d)
    low = torch.autocast(device.type, torch.bfloat16, enabled=it.dtype == "bfloat16")
    volume = torch.from_numpy(np.moveaxis(asked.volume(), -1, 0)[None].astype(np.float32))
    alone = []

    def step(predictor=network) -> torch.Tensor:
        with torch.inference_mode(), low:
            logits = sliding_window_inference(
                volume.to(device),
                tuple(config.window),
                how.batch_size,
                predictor,
                overlap=how.overlap,
                mode="gaussian",
            )
            return logits.argmax(dim=1).to("cpu", torch.uint8)

    def keeping(windows: torch.Tensor) -> torch.Tensor:
        alone.append(windows.clone())
        return network(windows)

    def bare() -> None:
        with torch.inference_mode(), low:
            for windows in alone:
                network(windows)
        if device.type == "cuda":
            torch.cuda.synchronize()

    step(keeping)
    parameters = sum(each.numel() for each in network.parameters())
    return Contestant(PEER, parameters, 1, sum(map(len, alone)), step, bare, lambda: None)


def settings(on_cpu: bool) -> Asked:
    """A brain as BraTS has them and the paper's windows; something smaller for a CPU."""
    config = segment.get_config("cohort=brats,head=unet").copy_and_resolve_references()
    config.model.scaling = "none"  # the volume is scaled already, as MONAI's users do it
    size = (240, 240, 155)
    if on_cpu:
        config.model.encoder.update({"widths": (16, 32, 64, 128), "dtype": "float32"})
        config.window, size = (32, 32, 32), (80, 80, 48)
    return Asked(config, size, channels=4, classes=4)


def main() -> None:
    """Measures, prints the table, and writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", choices=("monai",), help="what takes turns with ours")
    contest.add_memory(parser)
    parser.add_argument("--rounds", type=int, default=5, help="of which the best counts")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args()
    found = measure(options.against == "monai", options.rounds, options.keep_memory)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    print(page(found))


if __name__ == "__main__":
    main()
