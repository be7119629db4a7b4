"""Answers for scans that have none: masks on each scan's own grid, or a table of classes."""

from functools import partial
from pathlib import Path

from ml_collections import ConfigDict

from rubik_jax import export, parallel
from rubik_jax.data.cases import Case
from rubik_jax.data.sources import find_cases
from rubik_jax.errors import UserError
from rubik_jax.modes.evaluating import sliding
from rubik_jax.modes.opening import build_task
from rubik_jax.predict import predict_classes, predict_masks
from rubik_jax.report.progress import say, track

NIFTI = "**/*.nii.gz"


def predict(folder: Path, config: ConfigDict, scans: Path, output: Path) -> None:
    """Writes an answer for each scan.

    Args:
        folder: the run's, whose best checkpoint answers.
        config: the run's.
        scans: a file, or a folder of them, laid out as the run's own were.
        output: the folder for the answers.

    Raises:
        UserError: a run that can't answer, or scans that can't be read.
    """
    source = export.load_source(folder)
    if config.task == "pretrain":
        raise UserError(
            f"{folder} is a pre-training, which predicts nothing; expected a run that classifies "
            "or segments"
        )
    channels = source.description["channels"]
    answers = source.description["classes" if config.task == "classify" else "values"]
    task = build_task(config, channels, answers)
    cases = _scans(config, scans, channels)
    forward = parallel.mapped_response(task.respond, source.variables)
    shared = {
        **sliding(task.window, config)._asdict(),
        "output": output,
        "intensity": config.data.intensity.to_dict(),
        "progress": partial(track, what="predicting"),
    }
    if config.task == "classify":
        written = predict_classes(cases, forward, classes=tuple(task.about["classes"]), **shared)
        say(f"{len(cases)} cases in {written}")
        return
    predict_masks(
        cases,
        forward,
        values=tuple(task.about["values"]),
        probabilities=config.inference.probabilities,
        **shared,
    )
    say(f"{len(cases)} masks in {output}")


def _scans(config: ConfigDict, scans: Path, channels: int) -> list[Case]:
    """The cases in a file or folder; UserError where they haven't as many modalities as the run."""
    options = config.data
    source, modalities = "folder", tuple(options.modalities)
    if (options.source == "brats" and scans.is_dir()) or options.source == "medmnist3d":
        source = options.source
    elif options.source != "folder":  # those that list their files in ways of their own
        files = NIFTI if channels == 1 else "**/*_{:04d}.nii.gz"
        modalities = tuple(files.format(channel) for channel in range(channels))
    cases = find_cases(
        source,
        path=scans,
        modalities=modalities,
        masks=options.masks,
        count=options.count,
        seed=0,
    )
    found = len(cases[0].images)
    if found != channels:
        raise UserError(
            f"{scans} has {found} modalities, the run was trained on {channels}; expected "
            "as many, by config.data.modalities"
        )
    return cases
