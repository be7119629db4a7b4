"""What stands on the encoder in the proxy task: a cube's projection and the answering heads."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rubik_jax.models.layers import WIDE

Vectors = Float[Array, "b m f"]

POOLINGS = ("none", "average")


class Projection(nn.Module):
    """Turns the last features of each cube into a vector, places kept.

    The features are flattened, not averaged: where things lie in a cube is what the game asks.
    The matrix product is one of the features' dtype; the vector is float32.

    Attributes:
        features: length of the vector; 0 hands the features on as they are.
        pooling: of the features first; one of `POOLINGS`, of which "average" loses their places.
        norm: whether a layer normalisation, which the paper doesn't have, stands before the ReLU.
    """

    features: int
    pooling: str = "none"
    norm: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b m x y z c"]) -> Vectors:
        if self.pooling == "average":
            x = x.astype(jnp.float32).mean(axis=(2, 3, 4), keepdims=True).astype(x.dtype)
        flat = x.reshape(*x.shape[:2], -1)
        if not self.features:
            return flat.astype(jnp.float32)
        vectors = nn.Dense(self.features, dtype=x.dtype, **WIDE, name="dense")(flat)
        return nn.relu(nn.LayerNorm(name="norm")(vectors) if self.norm else vectors).astype(
            jnp.float32
        )


class JointOrderHead(nn.Module):
    """Says which of the K orders was used from all cubes at once (paper, section 2.1, figure 1).

    Attributes:
        orders: the set of orders, [k, m], of which only the number matters here.
        hidden: width of a hidden layer; 0 for the paper's single fully connected layer.
    """

    orders: tuple[tuple[int, ...], ...]
    hidden: int

    @nn.compact
    def __call__(self, cubes: Vectors) -> Float[Array, "b k"]:
        x = cubes.reshape(cubes.shape[0], -1)
        if self.hidden:
            x = nn.relu(nn.LayerNorm(name="norm")(nn.Dense(self.hidden, name="hidden")(x)))
        return nn.Dense(len(self.orders), name="logits")(x)


class TiedOrderHead(nn.Module):
    """Says which order was used by asking each cube where it came from; not the paper's head.

    One layer, shared by the places, scores which of the M cubes stands in a place; the logit of
    an order is the sum of the scores of what it puts where. That constrains the paper's fully
    connected layer over the concatenated vectors: f x M weights in place of K x M x f, and no
    cube's score depends on another cube. A bias would add the same to every order.

    Attributes:
        orders: the set of orders, [k, m].
    """

    orders: tuple[tuple[int, ...], ...]

    @nn.compact
    def __call__(self, cubes: Vectors) -> Float[Array, "b k"]:
        places = nn.Dense(cubes.shape[1], use_bias=False, name="places")(cubes)  # [b, place, cube]
        table = jax.nn.one_hot(jnp.array(self.orders), cubes.shape[1])  # [k, place, cube]
        return jnp.einsum("bpc,kpc->bk", places, table)


class JointCubeHead(nn.Module):
    """Says something of the cube in each place (its turn, whether it was masked) from all cubes.

    One fully connected layer (paper, section 2.1), kept shallow: a public implementation saw it
    collapse with one layer more.

    Attributes:
        answers: how many logits per cube.
    """

    answers: int

    @nn.compact
    def __call__(self, cubes: Vectors) -> Float[Array, "b m a"]:
        batch, places, _ = cubes.shape
        logits = nn.Dense(places * self.answers, name="logits")(cubes.reshape(batch, -1))
        return logits.reshape(batch, places, self.answers)


class TiedCubeHead(nn.Module):
    """Says it of each cube from its own vector alone, by one layer shared by the places.

    The paper's layer sees all cubes; here none can be compared with its neighbours.

    Attributes:
        answers: how many logits per cube.
    """

    answers: int

    @nn.compact
    def __call__(self, cubes: Vectors) -> Float[Array, "b m a"]:
        return nn.Dense(self.answers, name="logits")(cubes)
