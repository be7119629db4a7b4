"""Small NIfTI files, sound ones, for the tests to spoil."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture
def nifti(tmp_path):
    """Writes an array (or a random volume of a shape) below tmp_path and returns its path."""

    def write(name, content=(6, 7, 8), affine=None, dtype=np.float32) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, tuple):
            content = np.random.default_rng(sum(name.encode())).uniform(0, 100, content)
        nib.save(
            nib.Nifti1Image(content.astype(dtype), np.eye(4) if affine is None else affine), path
        )
        return path

    return write
