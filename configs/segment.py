"""Segmentation by a 3D U-Net or a dense upsampling convolution (DUC) on the encoder.

python -m rubik_jax.main --config=configs/segment.py --workdir=runs/phantom_segment \
    --config.init_from=runs/phantom
python -m rubik_jax.main --config=configs/segment.py:cohort=hippocampus,head=duc \
    --workdir=runs/hippocampus_duc --config.init_from=runs/hippocampus --config.data.labelled=8
python -m rubik_jax.main --config=configs/segment.py:cohort=folder --workdir=runs/own_segment \
    --config.data.path=SCANS --config.data.modalities="('*_t1.nii.gz',)" \
    --config.data.masks="*_mask.nii.gz"

Arguments: cohort=phantom|hippocampus|brats|acdc|head_ct|folder, head=unet|duc, net=vgg|resnet, and
debug for the same in miniature. Without config.init_from it trains from scratch.

Reached on 40 test cases of hippocampus (docs/results.md), foreground Dice: U-Net 0.880 with all
labels and 1500 steps, 0.833 with 8 labels and 300; DUC 0.864 and 0.803. From scratch the same to
0.005.
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
    regions: str = "source"


COHORTS = {
    "phantom": Cohort(window=(36, 44, 36), steps=100, batch_size=2, data={}),
    "hippocampus": Cohort(window=(32, 40, 24), steps=1500, batch_size=4, data={}),
    # The paper's cubes; whole tumour, tumour core and enhancing tumour beside the labels, by the
    # numbering of the edition that the files' names and the masks' labels tell of.
    "brats": Cohort(
        window=(64, 64, 64),
        steps=20_000,
        batch_size=8,
        data={"source": "brats", "foreground": 0.33},
        regions="brats",
    ),
    "acdc": Cohort(
        window=(96, 96, 6),
        steps=2000,
        batch_size=4,
        data={"masks": "masks/*.nii.gz", "foreground": 0.5},
    ),
    # Of the cases with a haematoma alone, whose oedema is a thin rim.
    "head_ct": Cohort(
        window=(96, 96, 16),
        steps=2000,
        batch_size=4,
        data={"masks": "oedema/*.nii.gz", "foreground": 0.5},
    ),
    "folder": Cohort(window=(64, 64, 64), steps=5000, batch_size=4, data={"foreground": 0.33}),
}


def get_config(text: str | None = None) -> ConfigDict:
    """The config for the arguments in `text`."""
    arg = common.arguments(text, cohort="phantom", head="unet", net="vgg", debug=False)
    cohort = common.choose("cohort", arg.cohort, COHORTS)
    seen = pretrain.COHORTS[arg.cohort]

    c = common.base(steps=cohort.steps, batch_size=cohort.batch_size)
    c.task = "segment"
    common.supervise(c, window=cohort.window)
    c.data.update(seen.data)
    c.data.update(cohort.data)
    c.data.ignore = -1  # a label that says nothing; -1 for the one that dataset.json declares

    c.regions = ConfigDict()  # made of several labels, and scored beside them
    # Or none; brats: the edition that names of files or labels tell of; or one of these outright:
    # brats_2015, brats_2018, brats_2023, brats_2024, brats_ped_2024, decathlon (docs/data.md).
    c.regions.preset = cohort.regions  # source: what dataset.json declares, none elsewhere
    # Own ones instead: (("core", (1, 4)), ...), labels by number or by dataset.json's names.
    c.regions.define = ()
    c.regions.train = False  # True: learned as they are, a sigmoid for each, as nnU-Net for BraTS
    # The label painted for each region, later ones over earlier ones; () for dataset.json's
    # regions_class_order, or what follows from regions that lie within each other.
    c.regions.order = ()

    c.loss = ConfigDict()
    c.loss.cross_entropy = 1.0  # its weight
    c.loss.dice = 1.0  # weight of one minus the soft Dice
    c.loss.class_weights = ()  # of the cross-entropy, one for each label
    c.loss.balanced = False  # True: weights inverse to how often a label is

    c.model = ConfigDict()
    c.model.encoder = pretrain.encoder(arg.cohort, arg.net)
    c.model.scaling = "cube"  # of a window, as the cubes were; or zscore, none
    c.model.head = common.choose("head", arg.head, {"unet": "unet", "duc": "duc"})
    c.model.convs = 1  # of each stage (unet), or on the features (duc)
    c.model.width = 0  # duc: their channels, 0 for those of the features

    c.evaluate.repeats = 2
    return common.miniature(c) if arg.debug else c
