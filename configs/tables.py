"""The paper's two tables on a cohort: what a proxy task reaches, and what its encoder is worth.

bash launch/tables.sh                                              # phantoms, under half an hour
python -m rubik_jax.main --mode=tables --config=configs/tables.py:cohort=hippocampus \
    --workdir=runs/tables_hippocampus --config.data.labels=classes.csv
python -m rubik_jax.main --mode=tables --config=configs/tables.py:cohort=folder \
    --workdir=runs/tables --config.data.path=SCANS --config.data.modalities="('*_t1.nii.gz',)" \
    --config.data.masks="*_mask.nii.gz" --config.data.labels=classes.csv --dry_run

Arguments: cohort=phantom|hippocampus|adrenal|haemorrhage|brats|acdc|head_ct|folder, net=vgg|resnet,
clips=ucf101|generated for the videos of the strategy "action" (generated ones for phantoms), and
debug for the same in miniature. The same command again goes on where it stopped; started
several times at once, on as many machines as see the folder, they share the work.

The knobs of every kind of run stand below its name: config.pretrain.steps, config.segment.window.
"""

from typing import NamedTuple

from ml_collections import ConfigDict, config_dict

from configs import action, classify, common, contrast, pretrain, reconstruct, restore, segment

# What each kind of run decides for itself; the rest of data is the cohort's, and said once for all.
OWN = ("pad", "labelled", "foreground", "ignore", "run", "seen", "resident")


class Cohort(NamedTuple):
    """What a cohort decides: what it can be asked, and how often."""

    targets: tuple[str, ...] = ("classify", "unet", "duc")
    labelled: tuple[str, ...] = ("8",)
    seeds: tuple[int, ...] = (0, 1, 2)


COHORTS = {
    "phantom": Cohort(seeds=(0, 1)),
    "hippocampus": Cohort(),
    "adrenal": Cohort(targets=("classify",)),  # its volumes are masks themselves
    "haemorrhage": Cohort(targets=("classify",), labelled=("10%", "all")),
    "brats": Cohort(targets=("unet", "duc"), labelled=("10%", "all")),
    "acdc": Cohort(targets=("unet", "duc"), labelled=("8", "all")),
    "head_ct": Cohort(labelled=("16", "all")),
    "folder": Cohort(labelled=("8", "all")),
}


# Of runs on the cohort; what they share begins as the first has it, which knows every cohort.
KINDS = (pretrain, reconstruct, restore, contrast, classify, segment)


def get_config(text: str | None = None) -> ConfigDict:
    """The config for the arguments in `text`."""
    arg = common.arguments(text, cohort="phantom", net="vgg", clips="", debug=False)
    cohort = common.choose("cohort", arg.cohort, COHORTS)

    c = ConfigDict()
    c.task = "tables"
    # The rows, in their order; more are rotation, plus, reconstruct, restore, contrast.
    c.strategies = ("scratch", "action", "ordering", "rubik")
    c.targets = cohort.targets  # classify, unet, duc
    # As data.labelled: a table for each. A miniature cohort has 5 cases to train on, of 4 classes.
    c.labelled = ("4",) if arg.debug else cohort.labelled
    c.seeds = cohort.seeds  # a run for each
    c.pretrainings = 1  # of each strategy; the seeds take turns with them
    c.games = ConfigDict(pretrain.PROXIES)  # how a strategy's proxy differs from config.pretrain's

    c.arguments = ConfigDict()  # of the config that each kind of run is made of
    for module in KINDS:
        kind = module.__name__.rpartition(".")[2]
        # Where a kind of run knows no such cohort, it's told of it as of any folder.
        known = arg.cohort in getattr(module, "COHORTS", COHORTS)
        said = f"cohort={arg.cohort if known else 'folder'},net={arg.net}" + ",debug" * arg.debug
        c.arguments[kind] = said
        c[kind] = module.get_config(said)
        c[kind].model.encoder = c.pretrain.model.encoder.copy_and_resolve_references()

    clips = arg.clips or ("generated" if arg.cohort == "phantom" else "ucf101")
    c.arguments.action = f"cohort={arg.cohort},clips={clips},net={arg.net}" + ",debug" * arg.debug
    c.action = action.get_config(c.arguments.action)

    # One override settles for all what they have in common: the cohort, the encoder, the budget.
    c.pretrain.data.masks = c.segment.data.masks
    # Folders may be of subjects as well as of classes: which they are is to be said.
    told = arg.cohort != "folder" and "classify" in cohort.targets
    c.pretrain.data.labels = c.classify.data.labels if told else ""
    c.data, c.encoder = ConfigDict(), ConfigDict()
    on_cohort = [c[module.__name__.rpartition(".")[2]] for module in KINDS]
    _share(c.data, [run.data for run in on_cohort])
    _share(c.encoder, [run.model.encoder for run in (*on_cohort, c.action)])
    for kind in ("reconstruct", "restore", "contrast"):
        for knob in ("steps", "batch_size", "accumulate", "optim", "augment", "every"):
            _follow(c[kind], c.pretrain, knob)
    for name in ("store", "workers", "on_bad"):
        c.action.data[name] = c.data.get_ref(name)
    return c


def _follow(run: ConfigDict, other: ConfigDict, knob: str) -> None:
    """Makes a knob, or all below it, what it is in another run."""
    if isinstance(run[knob], ConfigDict):
        for below in run[knob]:
            _follow(run[knob], other[knob], below)
    else:
        run[knob] = other.get_ref(knob)


def _share(one: ConfigDict, runs: list[ConfigDict]) -> None:
    """Makes those parts of all kinds of runs follow one, which begins as the first's."""
    for name, value in runs[0].items():
        if isinstance(value, ConfigDict):
            one[name] = ConfigDict()
            _share(one[name], [run[name] for run in runs])
        elif name not in OWN:
            shared = config_dict.FieldReference(value, str if value is None else None)
            for part in (one, *runs):
                part[name] = shared
