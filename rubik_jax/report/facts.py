"""What a run was: its command, what of its config one wants to see at a glance, and the whole."""

import json
from html import escape
from typing import Any

from rubik_jax.data.preprocess import make_preprocessing
from rubik_jax.report import markup
from rubik_jax.report.cohort import steps

SAID = 12  # classes that are named


def section(description: dict[str, Any]) -> str:
    """The run as HTML; `description` is what its checkpoint says of itself."""
    command = f"<pre>{escape(description['command'])}</pre>"
    parts = [command, markup.facts(facts(description))]
    skipped = description.get("skipped")
    if skipped:
        listed = "\n".join(f"{name}: {reason}" for name, reason in skipped.items())
        title = f"{len(skipped)} case{'s' if len(skipped) > 1 else ''} that can't be used, and why"
        parts.append(markup.details(title, listed))
    parts.append(markup.details("The whole config", json.dumps(description["config"], indent=2)))
    return markup.section("The run", *parts)


def facts(description: dict[str, Any]) -> dict[str, str]:
    """Names of facts -> what they are, of a run of any task."""
    config, split = description["config"], description["split"]
    data, optim = config["data"], config["optim"]
    cases = ", ".join(f"{len(names)} {part}" for part, names in split.items())
    of_task = {
        "pretrain": _puzzle,
        "reconstruct": _reconstruction,
        "restore": _restoration,
        "contrast": _contrast,
    }.get(config["task"], lambda _: _supervised(description))(config)
    return {
        "cohort": f"{data['source']}, {data['path']}: {cases}",
        **_volumes(description),
        **of_task,
        "optimiser": f"{optim['name']}, rate {optim['rate']:g}, {optim['schedule']}; "
        f"{config['steps']} steps of {config['batch_size']}",
        **({"machine": description["machine"]} if "machine" in description else {}),
        "versions": ", ".join(f"{k} {v}" for k, v in description["versions"].items()),
    }


def _volumes(description: dict[str, Any]) -> dict[str, str]:
    """What was done to them; nothing is said of it where arrays were trained on, not files."""
    how = description.get("preprocessing")
    return {"volumes": "; ".join(steps(make_preprocessing(**how)))} if how else {}


def _puzzle(config: dict[str, Any]) -> dict[str, str]:
    puzzle = config["proxy"]
    curriculum = puzzle["curriculum"]
    orders = f"{puzzle['num_orders']} orders ({puzzle['orders']})"
    return {
        "puzzle": f"{_times(puzzle['counts'])} cubes of {_times(puzzle['cube'])} voxels, gap "
        f"{_times(puzzle['gap'])}; {'no orders' if puzzle['orders'] == 'none' else orders}; "
        f"turns: {puzzle['turns']}; masking: {puzzle['masking']:g}",
        "curriculum": f"no turns for {curriculum['hold']} steps, then more over "
        f"{curriculum['ramp']}"
        if any(curriculum.values())
        else "none",
        "network": f"{_encoder(config)}; {config['model']['heads']} heads",
    }


def _reconstruction(config: dict[str, Any]) -> dict[str, str]:
    game = config["proxy"]
    blocks = f"{game['ratio']:.0%} of blocks of {_times(game['block'])} voxels"
    return {"game": f"masked-volume reconstruction: {blocks} are blanked", **_windowed(config)}


def _restoration(config: dict[str, Any]) -> dict[str, str]:
    game = config["proxy"]
    return {
        "game": f"restoration as in Models Genesis: non-linear intensities in "
        f"{game['nonlinear']:.0%} of the windows, voxels shuffled in boxes of "
        f"{_times(game['box'])} in {game['shuffle']:.0%}, painted over in {game['paint']:.0%} "
        f"(of these {game['inpaint']:.0%} within)",
        **_windowed(config),
    }


def _contrast(config: dict[str, Any]) -> dict[str, str]:
    game, model = config["proxy"], config["model"]
    parts = f", in {config['accumulate']} parts" if config["accumulate"] > 1 else ""
    return {
        "game": f"contrast of two views of {_times(game['view'])} voxels among the "
        f"{config['batch_size']} volumes of a batch{parts}; temperature {game['temperature']:g}",
        **_windowed(config),
        "projection": f"{model['hidden']}, then {model['projection']} values",
    }


def _windowed(config: dict[str, Any]) -> dict[str, str]:
    return {
        "window": f"{_times(config['window'])} voxels",
        "network": _encoder(config),
        "augmentation": _augmentation(config["augment"]),
    }


def _supervised(description: dict[str, Any]) -> dict[str, str]:
    config = description["config"]
    transfer, encoder = config["transfer"], config["optim"]["encoder"]
    return {
        "started from": "scratch"
        if config["init_from"] is None
        else f"{config['init_from']}, {transfer['checkpoint']} checkpoint",
        "labelled cases": f"{len(description['split']['train'])} to train on (data.labelled="
        f"{config['data']['labelled']}); {_answers(description)}",
        "network": f"{_encoder(config)}; {_head(config)}",
        "encoder": f"rate × {encoder['rate']:g}, × {encoder['decay']:g} from stage to stage, "
        + (f"frozen for {encoder['freeze']} steps" if encoder["freeze"] else "free from the start"),
        "window": f"{_times(config['window'])} voxels, scaling {config['model']['scaling']}",
        "augmentation": _augmentation(config["augment"]),
    }


def _answers(description: dict[str, Any]) -> str:
    if description["config"]["task"] == "segment":
        return f"labels {', '.join(map(str, description['values']))}"
    classes = description["classes"]
    more = [f"and {len(classes) - SAID} more"] if len(classes) > SAID else []
    return f"classes {', '.join([*classes[:SAID], *more])}"


def _encoder(config: dict[str, Any]) -> str:
    encoder = config["model"]["encoder"]
    widths = "-".join(map(str, encoder["widths"]))
    return f"{encoder['name']}, widths {widths}, norm {encoder['norm']}, {encoder['dtype']}"


def _head(config: dict[str, Any]) -> str:
    model = config["model"]
    if config["task"] == "classify":
        return f"a linear head, dropout {model['dropout']:g}"
    return f"{model['head']} decoder, {model['convs']} convolutions"


def _augmentation(knobs: dict[str, Any]) -> str:
    """In a few words, what is switched on."""
    flips = "".join(axis for axis, on in zip("xyz", knobs["flip"], strict=True) if on)
    words = {
        f"flips along {flips}": flips,
        f"affine in {knobs['affine']:.0%} (±{knobs['rotate']:g}°, ±{knobs['scale']:.0%}, "
        f"±{knobs['shift']:g} voxels)": knobs["affine"],
        f"gain, offset, gamma in {knobs['intensity']:.0%}": knobs["intensity"],
        f"noise to {knobs['noise']:g}": knobs["noise"],
        f"blur to {knobs['blur']:g} voxels": knobs["blur"],
    }
    return "; ".join(said for said, on in words.items() if on) or "none"


def _times(numbers: list[int]) -> str:
    return " × ".join(map(str, numbers))
