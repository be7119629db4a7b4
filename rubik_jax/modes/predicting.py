"""Answers for scans that have none: masks on each scan's own grid, or a table of classes."""

import os
from functools import partial
from pathlib import Path

from ml_collections import ConfigDict

from rubik_jax import export, parallel
from rubik_jax.data import regions
from rubik_jax.data.cases import Case, Where
from rubik_jax.data.formats import walk
from rubik_jax.data.preprocess import make_preprocessing
from rubik_jax.data.sources import Listing, find_cases, msd
from rubik_jax.errors import UserError
from rubik_jax.modes import cohort
from rubik_jax.modes.evaluating import sliding
from rubik_jax.modes.opening import check_inference
from rubik_jax.modes.posing import SUPERVISED, build_task
from rubik_jax.predict import PREDICTIONS, predict_classes, predict_masks
from rubik_jax.report.progress import say, track

NUMBERED = "**/*_{:04d}.*"  # as nnU-Net names a modality's file


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
    if not scans.exists():
        raise UserError(f"--input={scans} does not exist; expected a scan, or a folder of them")
    if config.task not in SUPERVISED:
        raise UserError(
            f"{folder} is a pre-training, which predicts nothing; expected a run that classifies "
            "or segments"
        )
    check_inference(config)
    channels = source.description["channels"]
    answers = source.description["classes" if config.task == "classify" else "values"]
    answered = regions.of_run(source.description)
    task = build_task(config, channels, answers, regions=answered)
    listing = _scans(config, scans, channels)
    skipped = dict(listing.skipped)
    cases = [case for case in listing.cases if not _lies_in(output, case)]
    if not cases:
        raise UserError(f"--input={scans} holds nothing but what --output={output} does")
    forward = parallel.mapped_response(task.respond, source.variables)
    shared = {
        **sliding(task.window, config)._asdict(),
        "output": output,
        "how": make_preprocessing(**source.description["preprocessing"]),
        "on_bad": config.data.on_bad,
        "progress": partial(track, what="predicting"),
    }
    if config.task == "classify":
        classes = tuple(task.about["classes"])
        predicted = predict_classes(cases, forward, classes=classes, **shared)
        found = "1 case" if len(predicted.done) == 1 else f"{len(predicted.done)} cases"
        say(f"{found} in {output / PREDICTIONS}")
    else:
        predicted = predict_masks(
            cases,
            forward,
            values=tuple(task.about["values"]),
            order=answered.order,
            probabilities=config.inference.probabilities,
            **shared,
        )
        masks = "1 mask" if len(predicted.done) == 1 else f"{len(predicted.done)} masks"
        say(f"{masks} in {output}")
    skipped |= predicted.skipped
    cohort.write_skipped(output, skipped)
    cohort.say_skipped(skipped)


def _scans(config: ConfigDict, scans: Path, channels: int) -> Listing:
    """The cases in a file or folder; UserError where they haven't as many modalities as the run.

    A Decathlon's or nnU-Net's folder is looked at where its images are: a file for each modality
    that ends in its number, or one file for all of them.
    """
    options = config.data
    source, modalities, masks, whole = "folder", tuple(options.modalities), "", False
    if options.source in ("ucf101", "clips", "videos"):
        source, modalities = "videos", ()
    elif options.source in ("medmnist3d", "tfds") or (options.source == "brats" and scans.is_dir()):
        source = options.source
    elif options.source == "folder":
        # New scans have no masks as a rule; those that lie there are no scans.
        found = scans.is_dir() and options.masks and _holds(scans, options.masks)
        masks = options.masks if found else ""
    else:
        homes = [scans / name for name in ("imagesTs", "imagesTr") if (scans / name).is_dir()]
        scans = homes[0] if homes else scans
        split = scans.is_dir() and _holds(scans, NUMBERED.format(0))
        numbers = range(channels)
        if split and modalities:
            numbers = msd.numbers(Where(options.path, modalities=modalities))
        modalities = tuple(NUMBERED.format(n) for n in numbers) if split else ()
        whole = channels > 1 and not split
    where = Where(
        scans,
        name=options.name,
        modalities=modalities,
        masks=masks,
        clip=cohort.clip_of(config),
    )
    listing = find_cases(source, where, missing=options.missing)
    if whole:
        return listing._replace(cases=[c._replace(channels=channels) for c in listing.cases])
    found = listing.cases[0].channels or len(listing.cases[0].images)
    if found != channels:
        raise UserError(
            f"{scans} has {found} modalities, the run was trained on {channels}; "
            "expected as many, by config.data.modalities"
        )
    return listing


def _lies_in(folder: Path, case: Case) -> bool:
    """Whether a case is an answer of an earlier call."""
    return any(p and p.resolve().is_relative_to(folder.resolve()) for p in case.images)


def _holds(folder: Path, pattern: str) -> bool:
    return bool(walk.match(folder, os.path.normpath(pattern)))
