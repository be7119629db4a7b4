"""The Siamese-Octad: one encoder for all cubes, by vmap over shared parameters, and its heads."""

import flax.linen as nn
from jaxtyping import Array, Float

from rubik_jax.models.heads import (
    JointCubeHead,
    JointOrderHead,
    Projection,
    TiedCubeHead,
    TiedOrderHead,
)
from rubik_jax.models.layers import CUBES

HEADS = ("paper", "tied", "joint")


class Branches(nn.Module):
    """What is done to each cube, with shared weights: encoder, then projection."""

    encoder: nn.Module
    projection: int
    pooling: str = "none"
    norm: bool = True

    @nn.compact
    def __call__(self, cubes: Float[Array, "b m x y z c"], train: bool) -> Float[Array, "b m f"]:
        encode = nn.vmap(
            lambda encoder, cube: encoder(cube, train)[-1],
            in_axes=1,
            out_axes=1,
            axis_name=CUBES,
            variable_axes={"params": None, "batch_stats": None},
            split_rngs={"params": False},
        )
        # All cubes at once: under the vmap its gradient would be one of each cube and their sum,
        # and it's the largest of the matrices.
        project = Projection(self.projection, self.pooling, self.norm, name="projection")
        return project(encode(self.encoder, cubes))


class SiameseOctad(nn.Module):
    """M branches with shared weights, concatenated, and a head per task (paper, figure 1).

    Attributes:
        encoder: the 3D CNN of a branch, from [b, x, y, z, c] to a tuple of features.
        projection: length of a cube's vector.
        heads: "paper", one fully connected layer over all cubes' vectors for each task, and no
            layer normalisation; "joint", the same with one on the vectors, and a hidden layer for
            the order; "tied", where each cube answers for itself by weights that all share.
        hidden: width of the joint order head's hidden layer, 0 for none.
        orders: the set of orders, [k, m]; empty where the order isn't asked for.
        cube_answers: logits per cube of each head that answers for a cube, by its name.
        pooling: of a cube's features before the projection, as `heads.Projection` takes.
    """

    encoder: nn.Module
    projection: int
    heads: str
    hidden: int
    orders: tuple[tuple[int, ...], ...]
    cube_answers: tuple[tuple[str, int], ...]
    pooling: str = "none"

    @nn.compact
    def __call__(
        self, cubes: Float[Array, "b m x y z c"], train: bool
    ) -> dict[str, Float[Array, "b ..."]]:
        """Returns the logits of each head: "order" [b, k], the others [b, m, answers]."""
        tied, norm = self.heads == "tied", self.heads != "paper"
        branch = Branches(self.encoder, self.projection, self.pooling, norm, name="branch")
        vectors = branch(cubes, train)
        cube_head = TiedCubeHead if tied else JointCubeHead
        logits = {
            name: cube_head(answers, name=f"{name}_head")(vectors)
            for name, answers in self.cube_answers
        }
        if self.orders:
            head = (
                TiedOrderHead(self.orders, name="order_head")
                if tied
                else JointOrderHead(self.orders, self.hidden, name="order_head")
            )
            logits["order"] = head(vectors)
        return logits
