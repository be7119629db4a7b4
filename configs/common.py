"""What the configs share: their arguments, and the knobs that every experiment has."""

import os

from ml_collections import ConfigDict, config_dict

from rubik_jax.spelling import did_you_mean, meant


def arguments(text: str | None, **known: str | bool) -> ConfigDict:
    """Reads the arguments behind a config's colon, e.g. "cohort=brats,net=resnet,debug".

    Args:
        text: what stands behind the colon; None for nothing.
        **known: the arguments there are, with their defaults; a bool one is a bare word.

    Raises:
        ValueError: an argument there isn't.
    """
    found, given = dict(known), set()
    for item in filter(None, (text or "").split(",")):
        name, is_pair, value = item.partition("=")
        if name not in known or bool(is_pair) == isinstance(known[name], bool):
            usage = ", ".join(n if isinstance(v, bool) else f"{n}=..." for n, v in known.items())
            words = {
                n if isinstance(v, bool) else f"{n}={value or '...'}": n for n, v in known.items()
            }
            near = next((word for word, n in words.items() if n == meant(name, known)), "")
            hint = f"; did you mean {near}?" if near else ""
            raise ValueError(f"the config has no argument {item!r}; expected some of {usage}{hint}")
        if name in given:
            raise ValueError(f"the config's argument {name} is given twice; expected once")
        given.add(name)
        found[name] = value if is_pair else True
    return ConfigDict(found)


def choose(what: str, name: str, known: dict):
    """The value of that name; ValueError names those there are."""
    if name not in known:
        near = did_you_mean(name, known)
        raise ValueError(f"{what} is {name!r}; expected one of {', '.join(known)}{near}")
    return known[name]


def real_data(folder: str) -> str:
    """Where a public cohort lies: in $RUBIK_DATA, or in ./data."""
    return os.path.join(os.environ.get("RUBIK_DATA", "data"), folder)


def base(*, steps: int, batch_size: int) -> ConfigDict:
    """The knobs of the loop, the optimiser and the data, with the defaults of all experiments."""
    c = ConfigDict()
    c.seed = 0
    c.steps = steps  # optimiser steps of the whole run
    c.batch_size = batch_size  # volumes of a step, on all devices together
    c.accumulate = 1  # in how many parts a device works off its share of the batch
    c.steps_per_call = 1  # steps of one compiled call

    c.optim = ConfigDict()
    c.optim.name = "adamw"  # or sgd
    c.optim.rate = 2e-3  # the highest learning rate
    c.optim.schedule = "cosine"  # or step, constant
    c.optim.warmup = c.get_ref("steps") // 20  # steps
    c.optim.final = 0.01  # cosine: where it ends, as a share of the rate
    c.optim.drops = (0.5, 0.75)  # step: when, as shares of the run
    c.optim.drop_factor = 0.1
    c.optim.weight_decay = 0.01
    c.optim.momentum = 0.9  # Adam's b1, or SGD's Nesterov momentum
    c.optim.clip = 1.0  # largest global norm of the gradient; 0 for none

    c.data = ConfigDict()
    c.data.source = "folder"  # brats, clips, folder, medmnist3d, msd, phantom, tfds, ucf101, videos
    c.data.path = config_dict.placeholder(str)  # the folder of the scans, or one file
    c.data.name = ""  # tfds: the data set and its split, e.g. brats_2018:train[:80%]
    # folder: a glob for each, relative to the path; brats, msd: their names. () for all there are.
    c.data.modalities = ()
    c.data.missing = "refuse"  # or skip the case, or zeros: where it lacks a modality
    c.data.masks = ""  # folder: a glob for the masks
    c.data.labels = ""  # classes: a CSV with the columns case and class, or folders
    c.data.count = 48  # phantom, clips: how many to generate
    c.data.video = ConfigDict()  # ucf101, clips, videos, tfds: what is taken of a video
    c.data.video.frames = 16  # evenly spaced over the whole of it
    c.data.video.side = 112  # pixels of the square in the middle, the shorter side scaled to it
    c.data.video.split = 1  # ucf101, clips: which of the official splits, 1 to 3
    c.data.on_bad = "fail"  # or skip: cases that can't be used are left out, and listed
    c.data.store = "data/store"  # where prepared volumes are kept
    c.data.compress = False  # True: in a fraction of the room, for cohorts larger than memory
    c.data.workers = 2  # threads that read
    # What is done to every volume, in this order.
    c.data.geometry = "affine"  # or pixdim: whose spacing, where a NIfTI's two contradict
    c.data.orientation = "RAS"  # where x, y, z run to
    c.data.crop = "none"  # or foreground: to the box of what is above the background
    c.data.intensity = ConfigDict()
    c.data.intensity.kind = "percentile"  # or window: values, e.g. Hounsfield units; or zscore
    c.data.intensity.low = 0.5  # what becomes 0; with zscore in standard deviations, e.g. -3.0
    c.data.intensity.high = 99.5  # what becomes 1, likewise
    c.data.intensity.over = "foreground"  # or whole: what percentiles and zscore are taken over
    c.data.resample = ConfigDict()
    c.data.resample.kind = "none"  # or median: the cohort's spacing; or value
    c.data.resample.spacing = (1.0, 1.0, 1.0)  # value: mm along x, y, z
    c.data.pad = "refuse"  # volumes smaller than the window; edge pads them: gives cubes away
    c.data.resident = False  # True: the training cases live on the devices
    c.data.split = ConfigDict()  # of cases, class by class where they have classes
    c.data.split.test = 0.2  # share of the cases, never trained on
    c.data.split.validation = 0.1  # share of the rest, chooses the best checkpoint
    c.data.split.seed = 0  # of the draw of the parts
    c.data.split.group = (
        ""  # or a regular expression: cases in which it finds the same stay together
    )
    c.data.split.folds = 0  # cross-validation: how many folds, instead of a share for test
    c.data.split.fold = 0  # which of them is held out, from 0
    c.data.split.file = ""  # or CSV (case,part), JSON, or nnU-Net's splits_final.json

    c.every = ConfigDict()
    c.every.log = max(1, steps // 50)  # steps between two records
    c.every.evaluate = max(1, steps // 10)  # and between two evaluations on the validation part
    c.every.checkpoint = max(1, steps // 10)  # and between two checkpoints
    c.every.probe = 0  # what features tell of the cases' classes; 0 for never

    c.evaluate = ConfigDict()
    c.evaluate.repeats = 8  # windows of each held-out case
    return c


def augmentation(*, affine: float) -> ConfigDict:
    """The knobs of random changes within the compiled step; 0 leaves one out."""
    c = ConfigDict()
    c.flip = (False, False, False)  # along x, y, z, where anatomy allows it
    c.affine = affine  # probability of rotation, scaling and shift
    c.rotate = 10.0  # degrees about each axis at most
    c.scale = 0.1  # relative at most
    c.shift = 2.0  # voxels along each axis at most
    c.intensity = 0.5  # probability of gamma, gain and offset, of each channel
    c.gain = 0.2  # relative at most
    c.offset = 0.1  # of the range of intensities at most
    c.gamma = 0.3  # an exponent up to 1 + gamma, or down to its inverse
    c.noise = 0.05  # standard deviation at most, of the range of intensities
    c.blur = 0.5  # sigma at most, in voxels
    return c


def supervise(c: ConfigDict, *, window: tuple[int, int, int]) -> None:
    """Adds the knobs of what is trained on labels, from another run's encoder or from scratch."""
    c.init_from = config_dict.placeholder(str)  # the run to start from; without one, from scratch
    c.transfer = ConfigDict()
    c.transfer.checkpoint = "best"  # or latest
    c.transfer.channels = "adapt"  # or refuse: another number of modalities
    c.transfer.partial = ()  # parts of the encoder, e.g. stage2, that may stay new
    c.transfer.unused = ()  # parts of that run's encoder that may be left behind

    c.window = window  # voxels along x, y, z of what a step takes of a volume

    c.optim.encoder = ConfigDict()
    c.optim.encoder.rate = 1.0  # its learning rate, as a multiple of the others'
    c.optim.encoder.decay = 1.0  # from each stage to the one before it, further
    c.optim.encoder.freeze = 0  # steps during which it doesn't move

    c.data.pad = "edge"  # volumes smaller than the window: pad them by their edge, or refuse
    # Training cases whose labels are used: a number (8) or a share (10%), at least one of a class.
    c.data.labelled = "all"
    c.data.foreground = 0.0  # share of the windows that must hold a labelled voxel
    c.data.split.run = config_dict.placeholder(str)  # whose split is taken, if not init_from's
    c.data.split.seen = ()  # test cases that the other run may have seen; ("*",) for any

    c.augment = augmentation(affine=0.5)

    c.inference = ConfigDict()
    c.inference.overlap = 0.5  # of neighbouring windows
    c.inference.batch_size = 4  # windows at a time
    c.inference.mirror = ()  # axes (0, 1, 2) over whose flips answers are averaged
    c.inference.probabilities = False  # True: predict writes them as well


def miniature(c: ConfigDict) -> ConfigDict:
    """The same run in miniature: seconds instead of minutes."""
    c.steps, c.batch_size = 4, 4
    c.every.log, c.every.evaluate, c.every.checkpoint = 1, 2, 2
    c.optim.warmup = c.get_ref("steps") // 4
    c.model.encoder.widths = tuple(8 for _ in c.model.encoder.widths)
    c.model.encoder.convs = tuple(1 for _ in c.model.encoder.convs)
    c.data.count = 8
    if c.data.source in ("phantom", "clips"):
        c.data.path += "_debug"  # a cohort of its own, since a folder holds one
    c.evaluate.repeats = 1
    return c
