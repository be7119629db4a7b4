"""Pre-training by masked-volume reconstruction, to compare Rubik's cube recovery with.

python -m rubik_jax.main --config=configs/reconstruct.py --workdir=runs/phantom_reconstruct
python -m rubik_jax.main --config=configs/segment.py --workdir=runs/phantom_segment \
    --config.init_from=runs/phantom_reconstruct

Arguments: cohort=phantom|hippocampus|haemorrhage|brats|adrenal|folder, net=vgg|resnet, and debug
for the same in miniature. Cohorts, windows, encoder and budget are those of configs/pretrain.py.
"""

import math

from ml_collections import ConfigDict

from configs import common, pretrain


def get_config(text: str | None = None) -> ConfigDict:
    """The config for the arguments in `text`."""
    arg = common.arguments(text, cohort="phantom", net="vgg", debug=False)
    c = pretrain.begin_windowed("reconstruct", arg.cohort, arg.net)
    # Two voxels of the deepest features along each axis, so that each stage has to fill gaps.
    strides = zip(*c.model.encoder.strides, strict=True)
    c.proxy.block = tuple(2 * math.prod(along) for along in strides)  # voxels along x, y, z
    c.proxy.ratio = 0.6  # share of the blocks that are blanked
    c.model.convs = 1  # of each stage of the decoder
    return common.miniature(c) if arg.debug else c
