"""Pre-training by Rubik's cube recovery.

python -m rubik_jax.main --config=configs/pretrain.py --workdir=runs/phantom
python -m rubik_jax.main --config=configs/pretrain.py:cohort=hippocampus --workdir=runs/hippocampus
python -m rubik_jax.main --config=configs/pretrain.py:cohort=folder --workdir=runs/own \
    --config.data.path=SCANS --config.data.modalities="('**/*_t1.nii.gz','**/*_t2.nii.gz')"

Arguments: cohort=phantom|hippocampus|haemorrhage|brats|acdc|head_ct|adrenal|folder, net=vgg|resnet,
grid=2|3|2x2x1|..., heads=paper|tied|joint, proxy=rubik|ordering|rotation|plus for the game or parts
of it, and debug for the same in miniature. Other games on the same windows: configs/reconstruct.py,
restore.py and contrast.py.

Reached on held-out cases of hippocampus with config.steps=800 on one CPU core (docs/results.md;
chance 1 % and 50 %): order 99.7 %, orientation 99.0 %. What moves these is in docs/proxy.md.
"""

import math
from typing import NamedTuple

from ml_collections import ConfigDict

from configs import common


class Cohort(NamedTuple):
    """What a cohort decides: its window and gap, how deep a network its cubes bear, its cost."""

    window: tuple[int, int, int]  # of a 2x2x2 grid, in voxels
    gap: tuple[int, int, int]
    widths: tuple[int, ...]
    strides: tuple[tuple[int, int, int], ...]
    steps: int
    batch_size: int
    dtype: str
    data: dict


# The last features of a cube must keep places (3x4x2 or so), or the order isn't learned.
COHORTS = {
    "phantom": Cohort(
        window=(36, 44, 36),
        gap=(4, 4, 4),
        widths=(16, 32, 64),
        strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
        steps=400,
        batch_size=8,
        dtype="float32",
        data={"source": "phantom", "path": "data/phantom"},
    ),
    # Medical Segmentation Decathlon Task04: no case is smaller than 31x40x24.
    "hippocampus": Cohort(
        window=(31, 40, 24),
        gap=(3, 4, 4),
        widths=(16, 32, 64),
        strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
        steps=1500,
        batch_size=16,
        dtype="float32",
        data={"source": "msd", "path": common.real_data("hippocampus")},
    ),
    # The paper's CT: cubes of 64x64x12 on 230x270x30, where a gap of 10 has no room along z.
    "haemorrhage": Cohort(
        window=(138, 138, 28),
        gap=(10, 10, 4),
        widths=(32, 64, 128, 256),
        strides=((1, 1, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2)),
        steps=20_000,
        batch_size=8,
        dtype="bfloat16",
        data={
            "path": "data/haemorrhage",
            "intensity": {"kind": "window", "low": 0.0, "high": 80.0},
        },
    ),
    # The paper's BraTS: cubes of 64x64x64, four modalities as channels.
    "brats": Cohort(
        window=(138, 138, 138),
        gap=(10, 10, 10),
        widths=(32, 64, 128, 256),
        strides=((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
        steps=20_000,
        batch_size=4,
        dtype="bfloat16",
        data={"source": "brats", "path": "data/brats"},
    ),
    # ACDC's cardiac cine MR, end diastole and end systole, 128x128 with 6 to 18 slices of 10 mm
    # (docs/data.md). Along z two cubes of three slices fill the thinnest case, without a gap.
    "acdc": Cohort(
        window=(96, 96, 6),
        gap=(8, 8, 0),
        widths=(16, 32, 64, 128),
        strides=((1, 1, 1), (2, 2, 1), (2, 2, 1), (2, 2, 1)),
        steps=2000,
        batch_size=8,
        dtype="float32",
        data={
            "path": common.real_data("acdc"),
            "modalities": ("images/*.nii.gz",),
            "split": {"group": "patient[0-9]+"},
        },
    ),
    # Head CTs of CT-ICH and PHE-SICH-CT-IDS, 128x128 with 19 to 40 slices of 5 mm.
    "head_ct": Cohort(
        window=(116, 116, 18),
        gap=(8, 8, 2),
        widths=(16, 32, 64, 128),
        strides=((1, 1, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2)),
        steps=2000,
        batch_size=8,
        dtype="float32",
        data={"path": common.real_data("head_ct"), "modalities": ("images/*.nii.gz",)},
    ),
    # MedMNIST3D's adrenal glands, 28x28x28.
    "adrenal": Cohort(
        window=(28, 28, 28),
        gap=(4, 4, 4),
        widths=(16, 32, 64),
        strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
        steps=1500,
        batch_size=16,
        dtype="float32",
        data={"source": "medmnist3d", "path": common.real_data("medmnist3d/adrenalmnist3d.npz")},
    ),
    "folder": Cohort(
        window=(68, 68, 68),
        gap=(4, 4, 4),
        widths=(16, 32, 64, 128),
        strides=((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
        steps=5000,
        batch_size=8,
        dtype="float32",
        data={},
    ),
}

PROXIES = {  # how the game differs from Rubik's cube recovery
    "rubik": {},
    "ordering": {"turns": "none"},
    "rotation": {"orders": "none"},
    "plus": {"masking": 0.5},  # Rubik's Cube+ (Zhu et al., 2020)
}


def get_config(text: str | None = None) -> ConfigDict:
    """The config for the arguments in `text`."""
    arg = common.arguments(
        text, cohort="phantom", net="vgg", grid="2", heads="tied", proxy="rubik", debug=False
    )
    c = begin("pretrain", arg.cohort, arg.net)
    cohort, counts = COHORTS[arg.cohort], _counts(arg.grid)

    c.proxy.counts = counts  # cubes along x, y, z
    c.proxy.cube = _cube(cohort, counts, arg.grid)  # voxels along x, y, z
    c.proxy.gap = cohort.gap  # voxels between neighbours
    c.proxy.jitter = (0, 0, 0)  # by how many voxels a cube may be moved, at most the gap
    c.proxy.orders = "greedy"  # or group (8 cubes), none
    c.proxy.num_orders = min(100, math.factorial(math.prod(counts)))  # K
    c.proxy.turns = "half"  # or all (24, cubes with equal sides), none
    c.proxy.masking = 0.0  # probability that a cube is masked, as in Rubik's Cube+
    c.proxy.curriculum = ConfigDict()
    # Joint heads learn turns faster once they know the order; tied ones need no such help, and the
    # paper has none.
    joint = common.choose("heads", arg.heads, {"paper": False, "tied": False, "joint": True})
    both = joint and arg.proxy in ("rubik", "plus")
    c.proxy.curriculum.hold = 300 if both else 0  # steps during which no cube is turned
    c.proxy.curriculum.ramp = 400 if both else 0  # steps until every cube is free to turn
    c.proxy.update(common.choose("proxy", arg.proxy, PROXIES))

    c.loss = ConfigDict()
    c.loss.alpha = 0.5  # of the permutation loss
    c.loss.beta = 0.5  # of the rotation loss
    c.loss.gamma = 0.5  # of the masking loss
    c.loss.reduction = "sum"  # or mean: of rotation and masking loss over the cubes

    c.model.projection = 64  # length of a cube's vector; 0 for its features as they are
    c.model.pooling = "none"  # or average: of a cube's features before that, whose places it loses
    # paper: one layer over the vectors of all cubes for each task; tied: each cube answers for
    # itself, by weights that all share; joint: as paper, with a hidden layer and normalised.
    c.model.heads = arg.heads
    c.model.hidden = 256 if joint else 0  # joint: width of the order head's hidden layer
    if arg.debug:
        c.model.projection = 16
    return common.miniature(c) if arg.debug else c


def begin(task: str, cohort: str, net: str) -> ConfigDict:
    """What all games share: the cohort, the budget, the augmentation, the encoder."""
    it = common.choose("cohort", cohort, COHORTS)
    c = common.base(steps=it.steps, batch_size=it.batch_size)
    c.task = task
    c.data.update(it.data)
    c.proxy = ConfigDict()
    # Moved windows would have blank edges, which name the octant: intensities alone.
    c.augment = common.augmentation(affine=0.0)
    c.model = ConfigDict()
    c.model.encoder = encoder(cohort, net)
    return c


def begin_windowed(task: str, cohort: str, net: str) -> ConfigDict:
    """The same with what a game on whole windows has: the window that the cubes would cover."""
    c = begin(task, cohort, net)
    c.window = COHORTS[cohort].window  # voxels along x, y, z of what a step takes of a volume
    return c


def encoder(cohort: str, net: str) -> ConfigDict:
    """The encoder of a cohort, before and after the transfer."""
    it = COHORTS[cohort]
    c = ConfigDict()
    c.name = common.choose("net", net, {"vgg": "vgg", "resnet": "resnet"})
    c.widths = it.widths  # channels of each stage
    # Convolutions (vgg) or residual blocks (resnet): one at full resolution, where they cost most.
    c.convs = (1, *(2 for _ in it.widths[1:]))
    c.strides = it.strides  # pooling before each stage, along x, y, z
    c.norm = "group"  # or batch, none
    c.dtype = it.dtype  # float32 or bfloat16: what is computed in
    c.remat = "none"  # or norms, stages: computed again for the gradient instead of kept
    return c


def _counts(grid: str) -> tuple[int, int, int]:
    sides = grid.split("x")
    if len(sides) not in (1, 3) or not all(side.isdecimal() for side in sides):
        raise ValueError(f"grid is {grid!r}; expected a number or three, such as 2 or 2x2x1")
    counts = tuple(int(side) for side in (sides * 3)[:3])
    if min(counts) < 1 or max(counts) > 9 or math.prod(counts) < 2:
        raise ValueError(f"grid is {grid!r}; expected 1 to 9 cubes along each axis, two at least")
    return counts


def _cube(cohort: Cohort, counts: tuple[int, int, int], grid: str) -> tuple[int, int, int]:
    """The voxels of a cube where so many of them, with gaps between, cover the cohort's window."""
    sides = zip(cohort.window, counts, cohort.gap, strict=True)
    cube = tuple((w - (n - 1) * g) // n for w, n, g in sides)
    if min(cube) < 1:
        raise ValueError(
            f"grid is {grid!r}, whose cubes have no room in a window of {cohort.window} voxels "
            f"with gaps of {cohort.gap}; expected fewer"
        )
    return cube
