"""The encoders: the shape of each stage, what is computed in, and what is refused."""

import jax
import jax.numpy as jnp
import pytest

from rubik_jax.errors import ArgumentError
from rubik_jax.models import make_encoder

OPTIONS = {
    "name": "vgg",
    "widths": [4, 6, 8],
    "convs": [1, 2, 1],
    "strides": [[1, 1, 1], [2, 2, 1], [2, 2, 2]],
    "norm": "group",
    "dtype": "float32",
}


def outline(shape=(2, 8, 13, 5, 3), **changes):
    """Shapes and dtypes of the variables and of the features, without computing anything."""
    encoder = make_encoder(**OPTIONS | changes)
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    variables = jax.eval_shape(lambda x: encoder.init(jax.random.key(0), x, False), x)
    return variables, jax.eval_shape(lambda v, x: encoder.apply(v, x, False), variables, x)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("vgg", [(2, 8, 13, 5, 4), (2, 4, 6, 5, 6), (2, 2, 3, 2, 8)]),  # pooling rounds down,
        ("resnet", [(2, 8, 13, 5, 4), (2, 4, 7, 5, 6), (2, 2, 4, 3, 8)]),  # strides up
    ],
)
def test_each_stage_is_divided_by_its_strides(name, shapes):
    _, features = outline(name=name)
    assert [feature.shape for feature in features] == shapes


@pytest.mark.parametrize("name", ["vgg", "resnet"])
def test_thin_volumes_keep_their_slices_where_the_stride_is_1(name):
    strides = [(1, 1, 1), (2, 2, 1), (4, 2, 1)]
    _, features = outline((1, 16, 16, 3, 1), name=name, strides=strides)
    assert features[-1].shape == (1, 2, 4, 3, 8)


@pytest.mark.parametrize("name", ["vgg", "resnet"])
@pytest.mark.parametrize("norm", ["group", "batch", "none"])
def test_bfloat16_is_computed_in_over_float32_parameters(name, norm):
    variables, features = outline(name=name, norm=norm, dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert {feature.dtype for feature in features} == {jnp.dtype("bfloat16")}
    assert ("batch_stats" in variables) == (norm == "batch")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "vit"}, r"^name is 'vit'.*'vgg', 'resnet'"),
        ({"norm": "layer"}, r"^norm is 'layer'.*'group'"),
        ({"dtype": "float16"}, r"^dtype is 'float16'.*'bfloat16'"),
        ({"widths": [4, 6]}, "^widths, convs and strides are of 2, 3 and 3 stages"),
        ({"widths": [], "convs": [], "strides": []}, "are of 0, 0 and 0 stages"),
        ({"widths": [4, 0, 8]}, r"^widths is \(4, 0, 8\).*at least 1"),
        ({"convs": [1, 0, 1]}, r"^convs is \(1, 0, 1\).*at least 1"),
        ({"strides": [[1, 1, 1], [2, 2], [2, 2, 2]]}, r"strides is .*\(x, y, z\)"),
        ({"strides": [[1, 1, 1], [2, 0, 2], [2, 2, 2]]}, "strides is .*at least 1"),
    ],
)
def test_an_encoder_that_cannot_be_is_refused(changes, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        make_encoder(**OPTIONS | changes)
