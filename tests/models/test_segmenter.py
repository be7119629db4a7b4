"""Decoders bring features back to every voxel, of any size, and DUC's shuffle is what it says."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rubik_jax.errors import ArgumentError
from rubik_jax.models import Classifier, Segmenter, make_decoder, make_encoder
from rubik_jax.models.layers import Upsample, pixel_shuffle

STRIDES = ((1, 1, 1), (2, 2, 1), (2, 2, 2))


def encoder(name: str = "vgg", norm: str = "group", strides=STRIDES):
    widths = (4, 6, 8)[: len(strides)]
    return make_encoder(
        name=name,
        widths=widths,
        convs=(1,) * len(widths),
        strides=strides,
        norm=norm,
        dtype="float32",
    )


def network(head: str, name: str = "vgg", strides=STRIDES, width: int = 0) -> Segmenter:
    decoder = make_decoder(
        head, classes=3, strides=strides, convs=1, width=width, norm="group", dtype="float32"
    )
    return Segmenter(encoder(name, strides=strides), decoder)


def test_pixel_shuffle_is_the_loop_written_out():
    i, j, k = strides = (2, 3, 1)
    batch, size, channels = 2, (2, 1, 3), 4
    x = np.arange(batch * np.prod(size) * i * j * k * channels, dtype=np.float32)
    x = x.reshape(batch, *size, -1)
    wanted = np.zeros((batch, size[0] * i, size[1] * j, size[2] * k, channels), np.float32)
    places = itertools.product(range(batch), *map(range, size), range(i), range(j), range(k))
    for b, u, v, w, p, q, r in places:
        for c in range(channels):
            there = x[b, u, v, w, ((p * j + q) * k + r) * channels + c]
            wanted[b, u * i + p, v * j + q, w * k + r, c] = there
    np.testing.assert_array_equal(pixel_shuffle(jnp.asarray(x), strides), wanted)


def test_upsampling_is_a_transposed_convolution_and_starts_without_a_checkerboard():
    layer = Upsample(features=3, strides=(2, 1, 2))
    x = jax.random.normal(jax.random.key(0), (1, 3, 2, 2, 5))
    params = layer.init(jax.random.key(1), x)["params"]
    y = layer.apply({"params": params}, x)
    assert y.shape == (1, 6, 2, 4, 3)
    # At first all parts of a voxel are alike.
    np.testing.assert_array_equal(y, jnp.repeat(jnp.repeat(y[:, ::2, :, ::2], 2, 1), 2, 3))
    other = jax.tree.map(lambda p: jax.random.normal(jax.random.key(2), p.shape), params)
    kernel = other["dense"]["kernel"].reshape(5, 2, 1, 2, 3)
    bias = other["dense"]["bias"].reshape(2, 1, 2, 3)
    wanted = jnp.einsum("bxyzc,cijkf->bxiyjzkf", x, kernel) + bias[None, None, :, None, :, None]
    np.testing.assert_allclose(
        layer.apply({"params": other}, x), wanted.reshape(y.shape), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("head", ["unet", "duc"])
@pytest.mark.parametrize("name", ["vgg", "resnet"])
@pytest.mark.parametrize("size", [(8, 8, 4), (9, 7, 5)])
def test_any_size_goes_in_and_comes_out(head, name, size):
    net = network(head, name)
    x = jax.random.normal(jax.random.key(0), (2, *size, 2))
    variables = jax.eval_shape(lambda: net.init(jax.random.key(0), x, False))
    y = jax.eval_shape(lambda v: net.apply(v, x, False), variables)
    assert y.shape == (2, *size, 3) and y.dtype == jnp.float32
    assert set(variables["params"]) == {"encoder", "decoder"}


def test_first_stage_may_have_a_stride():
    strides = ((2, 2, 1), (1, 2, 2))
    for head in ("unet", "duc"):
        net, x = network(head, strides=strides), jnp.zeros((1, 6, 8, 5, 1))
        shape = jax.eval_shape(lambda n=net, x=x: n.init_with_output(jax.random.key(0), x, False))
        assert shape[0].shape == (1, 6, 8, 5, 3)


@pytest.mark.parametrize("head", ["unet", "duc"])
def test_every_voxel_is_answered_from_where_it_lies(head):
    """The gradient of a voxel's logit is largest about that voxel, in odd sizes too."""
    net = network(head)
    x = jax.random.normal(jax.random.key(0), (1, 13, 11, 7, 1))
    variables = jax.jit(net.init, static_argnums=2)(jax.random.key(1), x, False)
    logit = jax.jit(jax.grad(lambda x, place: net.apply(variables, x, False)[(0, *place, 0)]))
    for place in ((2, 3, 1), (12, 10, 6)):
        slope = logit(x, place)
        weight = np.abs(np.asarray(slope))[0, ..., 0]
        centre = [
            np.average(np.arange(n), weights=weight.sum(axis=tuple({0, 1, 2} - {a})))
            for a, n in enumerate(weight.shape)
        ]
        far = [(np.array(weight.shape) - 1) - place]
        assert np.linalg.norm(np.array(centre) - place) < np.linalg.norm(np.array(centre) - far)


def test_duc_needs_far_fewer_new_parameters_than_a_unet():
    counts = {}
    for head in ("unet", "duc"):
        widths = (32, 64, 128, 256)
        strides = ((1, 1, 1), *[(2, 2, 2)] * 3)
        net = Segmenter(
            make_encoder(
                name="vgg",
                widths=widths,
                convs=(1, 2, 2, 2),
                strides=strides,
                norm="group",
                dtype="float32",
            ),
            make_decoder(
                head,
                classes=4,
                strides=strides,
                convs=2 if head == "unet" else 0,
                width=0,
                norm="group",
                dtype="float32",
            ),
        )
        x = jnp.zeros((1, 64, 64, 64, 4))
        params = jax.eval_shape(lambda n=net, x=x: n.init(jax.random.key(0), x, False))["params"]
        counts[head] = sum(leaf.size for leaf in jax.tree.leaves(params["decoder"]))
    assert counts["duc"] < counts["unet"] / 2


def test_classifier_takes_any_size_and_does_not_mind_where_things_lie():
    net = Classifier(encoder(strides=((1, 1, 1),)), classes=4)
    x = jnp.zeros((1, 12, 10, 8, 1)).at[0, 4:6, 4:6, 3:5].set(1.0)
    variables = net.init(jax.random.key(0), x, False)
    y = net.apply(variables, x, False)
    assert y.shape == (1, 4)
    np.testing.assert_allclose(net.apply(variables, jnp.roll(x, 3, 1), False), y, atol=1e-5)
    assert net.apply(variables, x[:, :7, :7, :6], False).shape == (1, 4)


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"name": "fpn"}, "^name is 'fpn'"),
        ({"name": "unet", "convs": 0}, "^convs is 0"),
        ({"name": "unet", "width": 8}, "^width is 8"),
        ({"name": "duc", "width": -1}, "^width is -1"),
    ],
)
def test_decoders_that_cannot_be_are_refused(knobs, said):
    options = {"classes": 2, "strides": STRIDES, "convs": 1, "width": 0, "norm": "none"}
    with pytest.raises(ArgumentError, match=said):
        make_decoder(**options | {"dtype": "float32"} | knobs)
