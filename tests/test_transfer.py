"""Weights that fit arrive as they were; those that don't are refused in a sentence, never lost."""

import shutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rubik_jax.checkpoints import Checkpoints
from rubik_jax.errors import ArgumentError, UserError
from rubik_jax.export import load_source
from rubik_jax.models import make_encoder
from rubik_jax.tasks.pretrain import pretrain
from rubik_jax.transfer import adapt, summary, table, transfer
from tests.tasks.supervised import STILL

ENCODER = {
    "name": "vgg",
    "widths": (4, 6),
    "convs": (1, 2),
    "strides": ((1, 1, 1), (2, 2, 2)),
    "norm": "group",
    "dtype": "float32",
}
POLICY = {"parts": ("encoder",), "channels": "adapt", "partial": (), "unused": ()}


class Classifier(nn.Module):
    """Stands for whatever is fine-tuned: an encoder by that name, and a head."""

    encoder: nn.Module

    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(3, name="head")(self.encoder(x, train)[-1].mean((1, 2, 3)))


def classifier(**changes):
    return Classifier(make_encoder(**ENCODER | changes))


def variables(channels=1, seed=1, **changes):
    """Of a classifier, drawn without compiling anything; positive, as a variance is."""
    empty = jnp.zeros((1, 4, 4, 4, channels))
    return drawn(lambda key: classifier(**changes).init(key, empty, False), seed)


def drawn(init, seed):
    rng = np.random.default_rng(seed)

    def draw(leaf):
        return rng.uniform(0.05, 0.5, leaf.shape).astype(leaf.dtype)

    return jax.tree.map(draw, jax.eval_shape(init, jax.random.key(0)))


def features(module, tree, x):
    """Of the encoder, at every stage."""
    return jax.jit(lambda tree, x: module.bind(tree).encoder(x, False))(tree, x)


def move(target, source, **policy):
    return transfer(target, source, **POLICY | policy)


def by_name(rows):
    return {row.name: row for row in rows}


def edit(tree, path, value=None):
    """A copy with another array at a path, or with none."""
    name, *rest = path
    kept = {key: value for key, value in tree.items() if key != name}
    if rest:
        kept[name] = edit(tree.get(name, {}), rest, value)
    elif value is not None:
        kept[name] = value
    return kept


@pytest.fixture(scope="module")
def plain():
    return variables(seed=0)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_an_encoder_of_the_proxy_computes_the_same_in_another_network(norm):
    encoder = ENCODER | {"norm": norm}
    puzzle = {
        "counts": (2, 1, 1),
        "cube": (4, 4, 4),
        "gap": (1, 1, 0),
        "jitter": (0, 0, 0),
        "orders": "greedy",
        "num_orders": 2,
        "turns": "half",
        "masking": 0.0,
        "curriculum": {"hold": 0, "ramp": 0},
    }
    model = {"encoder": encoder, "projection": 8, "heads": "tied", "hidden": 0}
    loss = {"alpha": 0.5, "beta": 0.5, "gamma": 0.5, "reduction": "mean"}
    task = pretrain(
        channels=1, proxy_options=puzzle, model=model, loss=loss, augmentation=STILL, seed=0
    )
    source, fresh = drawn(task.init, 0), variables(norm=norm)
    loaded, rows = move(fresh, {**source, "opt_state": {"count": np.int32(3)}})

    x = jax.random.normal(jax.random.key(2), (2, 4, 4, 4, 1))
    alone = {name: tree["encoder"] for name, tree in source.items()}
    apply = jax.jit(lambda tree, x: make_encoder(**encoder).apply(tree, x, False))
    expected = apply(alone, x)
    for ours, theirs in zip(features(classifier(norm=norm), loaded, x), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert jax.tree.structure(loaded) == jax.tree.structure(fresh)
    assert np.array_equal(loaded["params"]["head"]["kernel"], fresh["params"]["head"]["kernel"])
    statuses = {name: row.status for name, row in by_name(rows).items()}
    assert {s for n, s in statuses.items() if "encoder" in n} == {"loaded"}
    assert statuses["head/kernel"] == "new"
    assert statuses["order_head/places/kernel"] == statuses["branch/projection/dense/bias"]
    assert statuses["order_head/places/kernel"] == "unused"
    assert len(rows) == len(jax.tree.leaves(fresh)) + sum(s == "unused" for s in statuses.values())


def test_rows_give_shapes_and_the_norm_of_what_is_held(plain):
    target = variables()
    source = edit(edit(plain, ("params", "head")), ("params", "old", "bias"), np.full(4, 2.0))
    loaded, rows = move(target, source)
    found = by_name(rows)
    kernel = found["encoder/stage1_conv0/kernel"]
    assert kernel.source == kernel.target == (3, 3, 3, 4, 6)
    assert kernel.norm == pytest.approx(
        np.linalg.norm(plain["params"]["encoder"]["stage1_conv0"]["kernel"])
    )
    assert found["head/kernel"][:4] == ("head/kernel", "new", None, (6, 3))
    assert found["head/kernel"].norm == pytest.approx(
        np.linalg.norm(loaded["params"]["head"]["kernel"])
    )
    assert found["old/bias"][:5] == ("old/bias", "unused", (4,), None, 4.0)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_equal_channels_give_equal_activations_for_any_numbers_of_them(before, after, seed):
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal((3, 2, 1, before, 5), np.float32)
    patch = rng.standard_normal((3, 2, 1), np.float32)  # what a kernel sees, in each channel

    def activation(weights):
        return np.einsum("ijk,ijkcf->f", patch, weights)

    adapted = adapt(kernel, after)
    assert adapted.shape == (3, 2, 1, after, 5)
    np.testing.assert_allclose(activation(adapted), activation(kernel), atol=1e-4)
    assert all(np.array_equal(adapted[..., 0, :], adapted[..., c, :]) for c in range(after))


@pytest.mark.parametrize(
    ("name", "before", "after"), [("vgg", 1, 4), ("resnet", 3, 1), ("vgg", 2, 3)]
)
def test_an_adapted_encoder_sees_in_grey_what_it_saw(name, before, after):
    # Without a norm, which would hide an activation of another size.
    small = {"widths": (4,), "convs": (1,), "strides": ((1, 1, 1),), "norm": "none", "name": name}
    source = variables(before, seed=0, **small)
    loaded, rows = move(variables(after, **small), source)
    x = jax.random.normal(jax.random.key(2), (1, 4, 4, 4, 1))
    (old,), (new,) = (
        features(classifier(**small), tree, jnp.repeat(x, channels, axis=-1))
        for tree, channels in ((source, before), (loaded, after))
    )
    np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-4)
    assert old.any()
    (row,) = [row for row in rows if row.status == "adapted"]
    assert row.name == f"encoder/{'stem' if name == 'resnet' else 'stage0_conv0'}/kernel"
    assert (row.source[3], row.target[3]) == (before, after)
    assert row.note == f"{before} -> {after} channels"


def test_other_channels_are_refused_where_that_is_asked_for(plain):
    with pytest.raises(
        ArgumentError,
        match=r"stage0_conv0/kernel takes 4 channels, but 1 in source; .*'adapt' as channels",
    ):
        move(variables(4), plain, channels="refuse")
    move(variables(1), plain, channels="refuse")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"widths": (4, 8)},
            r"^encoder/stage1_conv0/kernel, like 5 more, is 3x3x3x4x8, but 3x3x3x4x6 in "
            r"source; .*encoder\.widths is \(4, 8\) here and \(4, 6\)",
        ),
        (
            {"widths": (4, 6, 8), "convs": (1, 2, 1), "strides": ((1, 1, 1),) * 3},
            r"stage2_conv0/kernel, like 2 more, \(3x3x3x6x8\) is missing from .*widths is "
            r"\(4, 6, 8\) here and \(4, 6\) there.*partial",
        ),
        (
            {"widths": (4,), "convs": (1,), "strides": ((1, 1, 1),)},
            r"stage1_conv0/kernel, like 5 more, \(3x3x3x4x6\) of source "
            r"has no place in the network; .*widths is \(4,\) here.*unused",
        ),
        (
            {"convs": (1, 3)},
            r"stage1_conv2/kernel.*missing.*convs is \(1, 3\) here and \(1, 2\)",
        ),
        (
            {"norm": "batch"},
            r"Norm_0.*missing.*encoder\.norm is 'batch' here and 'group' there",
        ),
        ({"norm": "none"}, r"bias.*missing.*encoder\.norm is 'none' here and 'group' there"),
        ({"name": "resnet"}, r"missing.*encoder\.name is 'resnet' here and 'vgg' there"),
    ],
)
def test_another_encoder_is_refused_with_the_knob_that_differs(plain, changes, sentence):
    with pytest.raises(ArgumentError, match=sentence) as caught:
        move(variables(**changes), plain)
    assert "\n" not in str(caught.value)


def test_a_renamed_layer_is_refused_with_the_name_it_may_have_had(plain):
    layer = plain["params"]["encoder"]["stage1_conv1"]
    source = edit(plain, ("params", "encoder", "stage1_conv1"))
    source = edit(source, ("params", "encoder", "stage1_convolution1"), layer)
    with pytest.raises(
        ArgumentError,
        match=r"stage1_conv1/kernel \(3x3x3x6x6\) is missing from source; "
        r".*stage1_convolution1/kernel there may be the same by another name",
    ):
        move(variables(), source)


def test_a_running_average_counts_like_a_parameter():
    source = variables(seed=0, norm="batch")
    gone = edit(source, ("batch_stats", "encoder", "stage0_norm0", "BatchNorm_0", "var"))
    with pytest.raises(ArgumentError, match=r"batch_stats/.*norm0/.*/var \(4\) is missing"):
        move(variables(norm="batch"), gone)
    with pytest.raises(ArgumentError, match=r"batch_stats/encoder.* is missing"):
        move(variables(norm="batch"), {"params": source["params"], "batch_stats": None})


def test_other_taps_of_a_first_convolution_are_no_matter_of_channels(plain):
    wide = jnp.ones((5, 3, 3, 2, 4))
    source = edit(plain, ("params", "encoder", "stage0_conv0", "kernel"), wide)
    with pytest.raises(ArgumentError, match="stage0_conv0/kernel is 3x3x3x1x4, but 5x3x3x2x4"):
        move(variables(), source)


def test_channels_of_a_later_convolution_are_not_adapted(plain):
    wide = jnp.ones((3, 3, 3, 5, 6))
    source = edit(plain, ("params", "encoder", "stage1_conv0", "kernel"), wide)
    with pytest.raises(ArgumentError, match="stage1_conv0/kernel is 3x3x3x4x6, but 3x3x3x5x6"):
        move(variables(), source)


@pytest.mark.parametrize("source", [{}, {"params": {}}, {"params": None, "step": np.int32(2)}])
def test_an_empty_source_is_refused(source):
    with pytest.raises(ArgumentError, match="has no params/encoder, but no parameters at all"):
        move(variables(), source)


def test_a_part_that_either_side_lacks_is_refused(plain):
    with pytest.raises(ArgumentError, match=r"^source has no params/encoder, but \['head'\]"):
        move(variables(), edit(plain, ("params", "encoder")))
    with pytest.raises(
        ArgumentError, match=r"^target has no params/decoder, but \['encoder', 'head'"
    ):
        move(variables(), plain, parts=("encoder", "decoder"))


def test_weights_that_hold_nothing_are_refused(plain):
    zeros = jax.tree.map(jnp.zeros_like, plain)
    with pytest.raises(ArgumentError, match="holds anything but zeros"):
        move(variables(), zeros)
    with pytest.raises(
        ArgumentError, match="holds anything but zeros"
    ):  # for none was to be loaded
        move(variables(widths=(8, 10)), plain, partial=("stage0", "stage1"))
    for broken in (np.nan, np.inf):
        bias = jnp.full(6, broken)
        source = edit(plain, ("params", "encoder", "stage1_norm0", "GroupNorm_0", "bias"), bias)
        with pytest.raises(ArgumentError, match=r"stage1_norm0/GroupNorm_0/bias.*NaN or infinity"):
            move(variables(), source)


def test_types_become_the_targets_between_floats_alone(plain):
    half = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16), plain)
    loaded, rows = move(variables(), half)
    kernel = loaded["params"]["encoder"]["stage1_conv0"]["kernel"]
    assert kernel.dtype == jnp.float32
    assert np.array_equal(kernel, half["params"]["encoder"]["stage1_conv0"]["kernel"])
    assert by_name(rows)["encoder/stage1_conv0/kernel"].note == "float16 -> float32"
    whole = jax.tree.map(lambda leaf: np.asarray(leaf, np.int32), plain)
    with pytest.raises(ArgumentError, match="is float32 in the network and int32 in source"):
        move(variables(), whole)


def test_what_is_named_may_stay_new_or_be_left(plain):
    deeper = variables(widths=(4, 6, 8), convs=(1, 2, 1), strides=((1, 1, 1),) * 3)
    loaded, rows = move(deeper, plain, partial=("stage2",))
    found = by_name(rows)
    assert found["encoder/stage2_conv0/kernel"].status == "new"
    assert found["encoder/stage1_conv1/kernel"].status == "loaded"
    kernels = [tree["params"]["encoder"]["stage2_conv0"]["kernel"] for tree in (loaded, deeper)]
    assert np.array_equal(*kernels)
    _, rows = move(plain, deeper, unused=("stage2_conv0", "stage2_norm0"))
    assert by_name(rows)["encoder/stage2_conv0/kernel"].status == "unused"
    _, rows = move(variables(widths=(4, 8)), plain, partial=("stage1",))
    row = by_name(rows)["encoder/stage1_conv0/kernel"]
    assert row[1:4] == ("differs", (3, 3, 3, 4, 6), (3, 3, 3, 4, 8))


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        ({"channels": "yes"}, r"^channels is 'yes'; expected one of"),
        ({"partial": ("stag",)}, r"^partial names 'stag', with which nothing"),
        ({"unused": ("stage1", "stage1_conv")}, r"^unused names 'stage1_conv'"),
    ],
)
def test_knobs_that_mean_nothing_are_refused(plain, policy, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        move(variables(), plain, **policy)


def test_the_table_shows_every_array_and_counts_them(plain):
    _, rows = move(variables(4), plain)
    lines = table(rows).splitlines()
    assert len(lines) == 1 + len(rows) + 1
    (adapted,) = [line.split() for line in lines if line.startswith("adapted")]
    assert adapted[1:4] == ["encoder/stage0_conv0/kernel", "3x3x3x1x4", "3x3x3x4x4"]
    columns = {line.index(r.name) for line, r in zip(lines[1:], rows, strict=False)}
    assert len(columns) == 1
    # 3 norms of 2, 27 x (4 + 6) x 6 and 2 x (4 + 6 + 6); 27 x 4 x 4; heads of 6 x 3 + 3 each.
    assert lines[-1] == (
        "encoder: 8 loaded (1.65 k), 1 adapted (432); head: 2 new (21), 2 unused (21)"
    )
    # In a run's log: what of the encoder isn't as it was, and the counts.
    first, odd, counts = summary(rows).splitlines()
    assert (first.split()[0], odd.split(), counts) == ("status", adapted, lines[-1])
    short = table(rows, limit=2).splitlines()
    assert len(short) == 5
    assert short[3:] == [f"and {len(rows) - 2} more", lines[-1]]


def save(folder, params, stats=None):
    writer = Checkpoints(folder)
    state = {"step": np.int32(3), "params": params, "batch_stats": stats or {}}
    writer.save("latest", 3, state, {"config": {"seed": 0}})
    writer.close()
    return folder


def test_a_source_is_read_as_it_was_written(tmp_path, plain):
    source = load_source(save(tmp_path, jax.device_get(plain["params"])))
    assert source.checkpoint == tmp_path / "checkpoints" / "3"
    assert source.description == {"config": {"seed": 0}}
    assert set(source.variables) == {"params"}
    loaded, _ = move(variables(), source.variables)
    kernels = [t["params"]["encoder"]["stage0_conv0"]["kernel"] for t in (loaded, plain)]
    assert np.array_equal(*kernels)


def test_an_empty_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"3 holds no parameters; expected those of a network"):
        load_source(save(tmp_path, {}))


def test_a_file_or_folder_that_is_no_checkpoint_is_refused(tmp_path, plain):
    file = tmp_path / "weights.pth"
    file.write_bytes(b"\x80\x02.")
    with pytest.raises(UserError, match=r"weights\.pth holds no best or latest checkpoint"):
        load_source(file)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "3").write_bytes(b"\x80\x02.")
    with pytest.raises(UserError, match="checkpoints/3 can't be read whole"):
        load_source(tmp_path)
    run = save(tmp_path / "run", jax.device_get(plain["params"]))
    shutil.rmtree(run / "checkpoints" / "3" / "state")
    with pytest.raises(UserError, match="checkpoints/3 can't be read whole"):
        load_source(run)
