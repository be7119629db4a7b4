"""Pre-training by restoring distorted volumes (Models Genesis), to compare with.

python -m rubik_jax.main --config=configs/restore.py --workdir=runs/phantom_restore
python -m rubik_jax.main --config=configs/segment.py --workdir=runs/phantom_segment \
    --config.init_from=runs/phantom_restore

Arguments: cohort=phantom|hippocampus|haemorrhage|brats|adrenal|folder, net=vgg|resnet, and debug
for the same in miniature. Cohorts, windows, encoder and budget are those of configs/pretrain.py.
"""

from ml_collections import ConfigDict

from configs import common, pretrain


def get_config(text: str | None = None) -> ConfigDict:
    """The config for the arguments in `text`."""
    arg = common.arguments(text, cohort="phantom", net="vgg", debug=False)
    c = pretrain.begin_windowed("restore", arg.cohort, arg.net)
    # Probabilities as in the authors' released configuration for chest CT.
    c.proxy.nonlinear = 0.9  # that intensities go through a random curve
    c.proxy.shuffle = 0.5  # that voxels are shuffled within small boxes
    c.proxy.box = tuple(max(2, n // 10) for n in c.window)  # their sides, in voxels
    c.proxy.paint = 0.9  # that a part is painted over by noise:
    c.proxy.inpaint = 0.2  # of these, boxes within; otherwise all around some boxes
    c.model.convs = 1  # of each stage of the decoder
    return common.miniature(c) if arg.debug else c
