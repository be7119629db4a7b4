"""Classification of volumes by a linear layer on the averaged features of the encoder.

python -m rubik_jax.main --config=configs/classify.py --workdir=runs/phantom_classify \
    --config.init_from=runs/phantom
python -m rubik_jax.main --config=configs/classify.py:cohort=adrenal --workdir=runs/adrenal \
    --config.init_from=runs/adrenal_pretrained
python -m rubik_jax.main --config=configs/classify.py:cohort=folder --workdir=runs/own_classify \
    --config.data.path=SCANS --config.data.labels=classes.csv

Arguments: cohort=phantom|hippocampus|adrenal|haemorrhage|acdc|head_ct|folder, net=vgg|resnet, and
debug for the same in miniature. Without config.init_from it trains from scratch.

Reached on AdrenalMNIST3D's 298 test cases with config.steps=600 (docs/results.md): ACC 83.2 %, AUC
0.864; from scratch 81.9 %, 0.873.
"""

from typing import NamedTuple

from ml_collections import ConfigDict

from configs import common, pretrain


class Cohort(NamedTuple):
    """What a cohort decides beside its encoder, which is that of `configs/pretrain.py`."""

    window: tuple[int, int, int]  # voxels
    steps: int
    batch_size: int
    data: dict


COHORTS = {
    "phantom": Cohort(window=(44, 52, 44), steps=50, batch_size=4, data={}),
    # Whole volumes but the largest, smaller ones padded.
    "hippocampus": Cohort(window=(36, 48, 32), steps=400, batch_size=8, data={}),
    "adrenal": Cohort(window=(28, 28, 28), steps=1000, batch_size=32, data={}),
    # The paper's CT, four causes: whole volumes of 230x270x30.
    "haemorrhage": Cohort(
        window=(230, 270, 30), steps=20_000, batch_size=8, data={"labels": "causes.csv"}
    ),
    # Five diagnoses by both phases of a patient, as two modalities.
    "acdc": Cohort(
        window=(112, 112, 6),
        steps=600,
        batch_size=8,
        data={
            "modalities": ("images/*_ed.nii.gz", "images/*_es.nii.gz"),
            "labels": "classes.csv",
        },
    ),
    # Haemorrhage or none, on the trauma CTs alone: the table has no others.
    "head_ct": Cohort(
        window=(116, 116, 28), steps=600, batch_size=8, data={"labels": "classes.csv"}
    ),
    "folder": Cohort(window=(96, 96, 96), steps=5000, batch_size=4, data={"labels": "folders"}),
}


def get_config(text: str | None = None) -> ConfigDict:
    """The config for the arguments in `text`."""
    arg = common.arguments(text, cohort="phantom", net="vgg", debug=False)
    cohort = common.choose("cohort", arg.cohort, COHORTS)
    encoder = pretrain.encoder(arg.cohort, arg.net)
    c = classifier(cohort, encoder, pretrain.COHORTS[arg.cohort].data)
    return common.miniature(c) if arg.debug else c


def classifier(cohort: Cohort, encoder: ConfigDict, data: dict) -> ConfigDict:
    """The knobs of a classification of that cohort, which adds to `data`, by that encoder."""
    c = common.base(steps=cohort.steps, batch_size=cohort.batch_size)
    c.task = "classify"
    common.supervise(c, window=cohort.window)
    c.data.update(data)
    c.data.update(cohort.data)

    c.loss = ConfigDict()
    c.loss.smoothing = 0.0  # of the labels
    c.loss.class_weights = ()  # one for each class, in the order of their names
    c.loss.balanced = False  # True: weights inverse to how often a class is

    c.model = ConfigDict()
    c.model.encoder = encoder
    c.model.scaling = "cube"  # of a window, as the cubes were; or zscore, none
    c.model.dropout = 0.0  # share of the averaged features

    c.evaluate.repeats = 1
    return c
