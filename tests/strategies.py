"""A comparison of strategies in miniature, whose figures can be told by hand."""

from rubik_jax.metrics.paired import Result
from rubik_jax.report.comparison import Answer, Proxy, Strategy, Tables, Target

GAINS = {"scratch": 0.0, "order": 0.1, "rubik": 0.2}  # of each case, over 0.5 and 0.6 by the seed


def run(strategy: str, target: str, labelled: str, seed: int, *, gain: float, cases=10) -> Result:
    """A run in which every case has the same measure."""
    measure = 0.5 + 0.1 * seed + gain
    return Result(strategy, target, labelled, seed, {f"case{i}": measure for i in range(cases)})


def tables(*, labelled=("8", "all"), seeds=(0, 1), skip=(), **changed) -> Tables:
    """Three strategies on two targets, all finished but the cells in `skip`."""
    strategies = (
        Strategy("scratch", "from scratch"),
        Strategy("order", "cube ordering", "one order is missing"),
        Strategy("rubik", "Rubik's cube"),
    )
    targets = (
        Target(
            "unet", "U-Net", "foreground mIoU", "BraTS mIoU", {"scratch": 0.733, "rubik": 0.762}
        ),
        Target("vgg", "VGG", "ACC", "", {}),
    )
    results = [
        run(strategy.key, target.key, k, seed, gain=GAINS[strategy.key])
        for strategy in strategies
        for target in targets
        for k in labelled
        for seed in seeds
        if (strategy.key, target.key, k) not in skip
    ]
    order = Answer("order", 0.01, (0.98, 0.99), {"CT": 0.92, "MR": 0.929})
    turns = Answer("orientation", 0.5, (0.9,), {"CT": 0.931})
    whole = Tables(
        title="A comparison",
        about="ten cases",
        strategies=strategies,
        proxies=(Proxy("rubik", (order, turns)), Proxy("order", (), "no run is finished")),
        targets=targets,
        labelled=labelled,
        counts={"8": 8, "all": 64},
        seeds=seeds,
        results=tuple(results),
        states={},
        scratch="scratch",
        command="python -m rubik_jax.main --mode=tables",
        runs={"a run": "python -m rubik_jax.main --seed=0"},
    )
    return whole._replace(**changed)
