"""Volumes of one's own, as any source of the project lists them, as a data set to hand on.

config = Volumes(name="knees", path="SCANS", modalities=("*_t1.nii.gz",))
Builder(config=config, data_dir="data/tfds").download_and_prepare(file_format="array_record")
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds

from rubik_jax.data import builders
from rubik_jax.data.cases import Case, Where
from rubik_jax.data.formats import open_scan
from rubik_jax.data.sources import find_cases
from rubik_jax.errors import UserError


@dataclasses.dataclass(eq=False, kw_only=True)
class Volumes(tfds.core.BuilderConfig):
    """Which volumes; the `name` of the config tells several such data sets apart.

    source: one of the project's, `folder` or `msd`, say.
    path: where it is to look, as `config.data.path`.
    modalities: as `config.data.modalities`.
    masks: as `config.data.masks`.
    labels: as `config.data.labels`.
    dtype: "int16" or "float32"; "" for int16 where no file stores anything larger.
    """

    path: str
    source: str = "folder"
    modalities: Sequence[str] = ()
    masks: str = ""
    labels: str = ""
    dtype: str = ""


class Builder(tfds.core.GeneratorBasedBuilder):
    """One split, `train`, or those parts that the source fixes."""

    name = "volume_folder"
    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        cases, dtype = self._cases(), self.builder_config.dtype
        channels = {case.channels or len(case.images) for case in cases}
        if len(channels) > 1:
            raise UserError(
                f"the cases in {self.builder_config.path} have {sorted(channels)} modalities: "
                "expected the same number in all"
            )
        if dtype not in ("", "int16", "float32"):
            raise UserError(f"dtype is {dtype!r}: expected 'int16', 'float32' or ''")
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Volumes listed by the source {self.builder_config.source!r}, RAS+.",
            features=builders.features(
                channels=channels.pop(),
                dtype=np.dtype(dtype or _least(cases)).type,
                masks=any(case.label for case in cases),
                label=sorted({case.target for case in cases} - {None}),
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        parts: dict[str, list[Case]] = {}
        for case in self._cases():
            parts.setdefault(case.part or "train", []).append(case)
        return {part: self._generate_examples(cases) for part, cases in parts.items()}

    def _generate_examples(self, cases: Sequence[Case]):
        return builders.examples(cases, self.info.features)

    def _cases(self) -> list[Case]:
        config = self.builder_config
        if not isinstance(config, Volumes):
            raise UserError("volume_folder is made from a folder: expected config=Volumes(...)")
        where = Where(config.path, modalities=tuple(config.modalities), masks=config.masks)
        return find_cases(config.source, where, labels=config.labels).cases


def _least(cases: Sequence[Case]) -> str:
    """The type that holds all that the files store, told from their headers."""
    stored = {
        open_scan(path, row=case.row).dtype
        for case in cases
        for path in case.images
        if path is not None
    }
    return "int16" if all(np.can_cast(dtype, np.int16) for dtype in stored) else "float32"
