"""The spacing that most of a cohort's volumes are about, from their headers alone."""

from collections.abc import Sequence

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from rubik_jax.data import formats
from rubik_jax.data.cases import Case
from rubik_jax.data.entries import in_threads
from rubik_jax.errors import UserError

Spacing = tuple[float, float, float]


def median(
    cases: Sequence[Case], *, orientation: str, geometry: str = "affine", workers: int = 1
) -> Spacing:
    """The median along each axis, mm, of the cases' first images.

    Those whose header can't be read are passed over; who prepares them says why.

    Args:
        cases: as a source lists them.
        orientation: the axes' codes, e.g. "RAS".
        geometry: as `formats.open_scan` takes it.
        workers: threads.

    Raises:
        UserError: no header can be read; that of the first case.
    """

    def one(case: Case) -> Spacing | UserError:
        try:
            return _spacing(case, orientation, geometry)
        except UserError as error:
            return error

    found = in_threads(one, cases, workers=workers, progress=None)
    known = [spacing for spacing in found if not isinstance(spacing, UserError)]
    if not known:
        raise found[0]
    # Rounded, so that the last bits of headers don't make another cohort of it.
    return tuple(np.round(np.median(known, axis=0), 4).tolist())


def _spacing(case: Case, orientation: str, geometry: str) -> Spacing:
    path = next(path for path in case.images if path is not None)
    scan = formats.open_scan(path, row=case.row, clip=case.clip, geometry=geometry)
    affine = scan.affine
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(orientation))
    sizes = np.empty(3)
    sizes[turn[:, 0].astype(int)] = nib.affines.voxel_sizes(affine)
    return tuple(sizes.tolist())
