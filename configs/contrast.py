"""Pre-training by contrast of augmented views (SimCLR), to compare Rubik's cube recovery with.

python -m rubik_jax.main --config=configs/contrast.py --workdir=runs/phantom_contrast
python -m rubik_jax.main --config=configs/segment.py --workdir=runs/phantom_segment \
    --config.init_from=runs/phantom_contrast

Arguments: cohort=phantom|hippocampus|haemorrhage|brats|adrenal|folder, net=vgg|resnet, and debug
for the same in miniature. Cohorts, windows, encoder and budget are those of configs/pretrain.py;
the other volumes of a batch are what a view must be told from, so a larger batch_size is a harder
game, and config.accumulate makes it an easier one.
"""

from ml_collections import ConfigDict

from configs import common, pretrain


def get_config(text: str | None = None) -> ConfigDict:
    """The config for the arguments in `text`."""
    arg = common.arguments(text, cohort="phantom", net="vgg", debug=False)
    c = pretrain.begin_windowed("contrast", arg.cohort, arg.net)
    c.proxy.view = tuple(3 * n // 4 for n in c.window)  # voxels along x, y, z of a view
    c.proxy.temperature = 0.1  # what similarities are divided by
    c.model.hidden = 128  # width of the projection's hidden layer
    c.model.projection = 64  # length of the vectors that are compared
    return common.miniature(c) if arg.debug else c
