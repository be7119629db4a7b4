"""Pre-training by telling people's actions apart in videos, as UCF101 has them.

python -m rubik_jax.main --config=configs/action.py:clips=generated --workdir=runs/action
python -m rubik_jax.main --config=configs/action.py:cohort=haemorrhage --workdir=runs/ucf101 \
    --config.data.path=UCF101      # the folder that holds UCF-101 and ucfTrainTestlist

Arguments: cohort=phantom|hippocampus|adrenal|haemorrhage|brats|acdc|head_ct|folder, the one that
the encoder is for, clips=ucf101|generated, net=vgg|resnet, and debug for the same in miniature. The
encoder is that of `configs/pretrain.py`; another run starts from it by `--config.init_from`.
Generated clips are moving shapes of 12 classes: they stand in where UCF101 is absent, and for
nothing else.

Reached on the 120 test clips of the first command, in two to three minutes on two cores: accuracy
79.2 % (chance 8.3 %), AUC 0.987, at step 480, which the few validation clips choose.
"""

from ml_collections import ConfigDict

from configs import common, pretrain
from configs.classify import Cohort, classifier

# UCF101 as it is usually seen, and as the paper has it: 101 classes, 16 pictures of 112x112.
PAPER = Cohort(
    window=(112, 112, 16), steps=40_000, batch_size=32, data={"video": {"frames": 16, "side": 112}}
)
SMALL = Cohort(
    window=(32, 32, 16), steps=800, batch_size=8, data={"video": {"frames": 16, "side": 32}}
)
COHORTS = {
    "phantom": SMALL,
    "hippocampus": SMALL,
    "adrenal": SMALL,
    "haemorrhage": PAPER,
    "brats": PAPER,
    "acdc": SMALL,
    "head_ct": SMALL,
    "folder": PAPER,
}
CLIPS = {
    "ucf101": {"source": "ucf101", "path": common.real_data("ucf101")},
    "generated": {"source": "clips", "path": "data/clips", "count": 360},
}


def get_config(text: str | None = None) -> ConfigDict:
    """The config for the arguments in `text`."""
    arg = common.arguments(text, cohort="phantom", clips="ucf101", net="vgg", debug=False)
    cohort = common.choose("cohort", arg.cohort, COHORTS)
    clips = common.choose("clips", arg.clips, CLIPS)
    c = classifier(cohort, pretrain.encoder(arg.cohort, arg.net), clips)
    # What values of pixels mean is the same in all videos.
    c.data.intensity.update({"kind": "window", "low": 0.0, "high": 255.0})
    c.data.split.group = r"v_.*_g\d+"  # clips of a group are of one scene
    if arg.debug:
        common.miniature(c)
        c.data.count = 36  # the fewest clips of which every class is trained on and tested
    return c
