"""Answers for scans that have none: masks on each scan's own grid, or a table of classes."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ml_collections import ConfigDict

from rubik_jax import export, parallel
from rubik_jax.data import regions
from rubik_jax.data.cases import Case, Where
from rubik_jax.data.formats import walk
from rubik_jax.data.preprocess import make_preprocessing
from rubik_jax.data.sources import Listing, find_cases, msd
from rubik_jax.data.writing import is_ours
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
        UserError: a run that can't answer, scans that can't be read, or masks that would lie among
            the scans.
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
    cases = _without_answers(listing.cases, output)
    if not cases:
        raise UserError(
            f"--input={scans} holds nothing but answers of earlier calls; expected scans"
        )
    if config.task == "segment" and scans.is_dir():
        _refuse_masks_among_scans(cases, output)
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


def _without_answers(cases: Sequence[Case], output: Path) -> list[Case]:
    """The cases but for the answers of earlier calls.

    Those carry the mark of what we write, or lie in `output` itself and are named as the answer
    to a case that lies elsewhere.
    """
    apart = [case for case in cases if not _lie_in(output, case)]
    answers = {f"{case.name}{end}.nii.gz" for case in apart for end in ("", "_probabilities")}

    def is_answer(case: Case) -> bool:
        files = [path for path in case.images if path and path.name.endswith(".nii.gz")]
        named = answers if _lie_in(output, case) else ()
        return bool(files) and all(path.name in named or is_ours(path) for path in files)

    return [case for case in cases if not is_answer(case)]


def _refuse_masks_among_scans(cases: Sequence[Case], output: Path) -> None:
    for case in cases:
        if _lie_in(output, case):
            raise UserError(
                f"--output={output} is the folder of scans of --input, such as that of case "
                f"{case.name!r}: their masks would lie among them, and be taken for scans by the "
                f"next call; expected another folder, such as {output / 'predictions'}"
            )


def _lie_in(folder: Path, case: Case) -> bool:
    """Whether a file of the case lies in that folder itself, or is it."""
    home = folder.resolve()
    return any(path and home in (path.resolve(), path.parent.resolve()) for path in case.images)


def _holds(folder: Path, pattern: str) -> bool:
    return bool(walk.match(folder, os.path.normpath(pattern)))
