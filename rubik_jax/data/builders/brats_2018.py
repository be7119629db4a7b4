"""BraTS 2018, from the folders that its organisers hand out; they can't be downloaded freely."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from rubik_jax.data import builders
from rubik_jax.data.cases import Case, Where
from rubik_jax.data.sources import brats, find_cases


class Builder(tfds.core.GeneratorBasedBuilder):
    """T1, T1Gd, T2 and FLAIR as channels; labels 1 necrosis, 2 oedema, 4 enhancing tumour."""

    name = "brats_2018"
    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Register at https://www.med.upenn.edu/sbia/brats2018/registration.html and unpack the "
        "training data so that manual_dir holds their folders HGG and LGG, however deep."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Multimodal Brain Tumour Segmentation Challenge 2018, the training cases.",
            homepage="https://www.med.upenn.edu/sbia/brats2018.html",
            features=builders.features(
                channels=len(brats.MODALITIES), dtype=np.int16, masks=True, grade=brats.GRADES
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        cases = find_cases("brats", Where(Path(dl_manager.manual_dir))).cases
        return {"train": self._generate_examples(cases)}

    def _generate_examples(self, cases: Sequence[Case]):
        return builders.examples(cases, self.info.features)
