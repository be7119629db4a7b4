"""The shapes that training is measured at: those of the shipped configs, and a small one."""

from ml_collections import ConfigDict

from configs import pretrain, segment

CHANNELS = {"brats": 4}  # of a source's volumes; 1 where it isn't named
CLASSES = {"brats": 4, "phantom": 4, "msd": 3}  # and in its masks; 2
HEADS = ("duc", "unet")

_CPU = {"haemorrhage": 1, "brats": 1}  # volumes of a step where there's no accelerator
_SMALL = {
    "widths": (32, 64, 128),
    "convs": (1, 2, 2),
    "strides": ((1, 1, 1), (2, 2, 2), (2, 2, 2)),
}
_SIDE = 32  # voxels, of a small cube


def _small_pretraining(net: str) -> ConfigDict:
    """Eight cubes of 32x32x32, five convolutions."""
    c = pretrain.get_config(f"cohort=folder,net={net}")
    c.proxy.cube, c.batch_size = (_SIDE,) * 3, 2
    c.model.encoder.update(_SMALL)
    return c


def _small_finetuning(head: str, net: str) -> ConfigDict:
    c = segment.get_config(f"cohort=folder,head={head},net={net}")
    c.window, c.batch_size = (_SIDE,) * 3, 2
    c.model.encoder.update(_SMALL)
    return c


PRETRAINING = {
    "haemorrhage": lambda net: pretrain.get_config(f"cohort=haemorrhage,net={net}"),
    "brats": lambda net: pretrain.get_config(f"cohort=brats,net={net}"),
    "small": _small_pretraining,
}
# The haemorrhages are classified.
FINETUNING = {
    "brats": lambda head, net: segment.get_config(f"cohort=brats,head={head},net={net}"),
    "small": _small_finetuning,
}


def batch_size(case: str, config: ConfigDict, *, on_cpu: bool) -> int:
    """Volumes of a step that suit the device: the config's, or few on a CPU."""
    return _CPU.get(case, config.batch_size) if on_cpu else config.batch_size


def still(config: ConfigDict) -> ConfigDict:
    """The config, resolved, without random changes of windows, which the peers don't make."""
    c = config.copy_and_resolve_references()
    c.augment.update({"flip": (False,) * 3, "affine": 0.0, "intensity": 0.0})
    c.augment.update({"noise": 0.0, "blur": 0.0})
    return c


def channels(config: ConfigDict) -> int:
    """Modalities of a volume."""
    return CHANNELS.get(config.data.source, 1)


def classes(config: ConfigDict) -> int:
    """Labels in a mask."""
    return CLASSES.get(config.data.source, 2)
