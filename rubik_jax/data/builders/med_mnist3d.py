"""The six data sets of MedMNIST3D at both of their sizes, downloaded from Zenodo.

Yang et al., MedMNIST v2, Scientific Data 10:41 (2023). The MD5 sums are those that the authors
publish with their reader; `checksums.tsv` beside this file adds SHA-256 of the files we have held.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from rubik_jax.data import builders, npz
from rubik_jax.data.cases import Case, Where
from rubik_jax.data.sources import find_cases
from rubik_jax.errors import UserError

URL = "https://zenodo.org/records/10519652/files"
CLASSES = {
    "organ": (
        *("liver", "kidney-right", "kidney-left", "femur-right", "femur-left", "bladder"),
        *("heart", "lung-right", "lung-left", "spleen", "pancreas"),
    ),
    "nodule": ("benign", "malignant"),
    "adrenal": ("normal", "hyperplasia"),
    "fracture": ("buckle rib fracture", "nondisplaced rib fracture", "displaced rib fracture"),
    "vessel": ("vessel", "aneurysm"),
    "synapse": ("inhibitory synapse", "excitatory synapse"),
}
MD5 = {
    ("organ", 28): "a0c5a1ff56af4f155c46d46fbb45a2fe",
    ("organ", 64): "58a2205adf14a9d0a189cb06dc78bf10",
    ("nodule", 28): "8755a7e9e05a4d9ce80a24c3e7a256f3",
    ("nodule", 64): "c47c5b7d457bf6332200d2ea6d64ecd8",
    ("adrenal", 28): "bbd3c5a5576322bc4cdfea780653b1ce",
    ("adrenal", 64): "17721accfe9fb005146a47d33bc54b2f",
    ("fracture", 28): "6aa7b0143a6b42da40027a9dda61302f",
    ("fracture", 64): "f01d7e6316aedf4210da0da5b7437b42",
    ("vessel", 28): "b41fd4f7e7e2feedddb201585ecafa1b",
    ("vessel", 64): "6bb274a8846e1097066dcd64e2c4520f",
    ("synapse", 28): "1235b78a3cd6280881dd7850a78eadb6",
    ("synapse", 64): "43bd14ebf3af9d3dd072446fedc14d5e",
}


@dataclasses.dataclass(eq=False, kw_only=True)
class Cubes(tfds.core.BuilderConfig):
    """One of the files: which data set, and how many voxels along each side."""

    data: str
    side: int

    @property
    def url(self) -> str:
        """Where the file lies."""
        size = "" if self.side == 28 else f"_{self.side}"
        return f"{URL}/{self.data}mnist3d{size}.npz?download=1"


class Builder(tfds.core.GeneratorBasedBuilder):
    """Cubes of one channel with a class each, in the splits of the authors; no affine is known."""

    name = "med_mnist3d"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar = [
        Cubes(name=f"{data}_{side}", data=data, side=side) for data, side in MD5
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        return tfds.core.DatasetInfo(
            builder=self,
            description="MedMNIST3D: small cubes cut from medical volumes, each with a class.",
            homepage="https://medmnist.com",
            license="CC BY 4.0",
            supervised_keys=("image", "label"),
            features=tfds.features.FeaturesDict(
                {
                    "image": builders.packed((config.side,) * 3, np.uint8),
                    "label": tfds.features.ClassLabel(names=list(CLASSES[config.data])),
                    "id": tfds.features.Text(),
                }
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        config = self.builder_config
        file, expected = Path(dl_manager.download(config.url)), MD5[config.data, config.side]
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "md5").hexdigest()
        if found != expected:
            raise UserError(
                f"{file}, downloaded from {config.url}, has the MD5 sum {found}: expected "
                f"{expected}; delete it, and it is downloaded anew"
            )
        parts: dict[str, list[Case]] = {}
        for case in find_cases("medmnist3d", Where(file)).cases:
            parts.setdefault(case.part, []).append(case)
        return {part: self._generate_examples(cases) for part, cases in parts.items()}

    def _generate_examples(self, cases: Sequence[Case]) -> Iterator[tuple[str, dict]]:
        for case in cases:
            image = npz.row(case.images[0], *case.row)
            yield case.name, {"image": image, "label": int(case.target), "id": case.name}
