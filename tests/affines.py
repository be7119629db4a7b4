"""Grids that lie askew in the world, for readers and writers to keep apart."""

import nibabel as nib
import numpy as np


def turned(degrees, axes="RAS", spacing=(0.9, 1.7, 3.1)):
    """An affine near the orientation `axes`, turned about two axes."""
    a = np.deg2rad(degrees)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    to_ras = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(axes), (1, 1, 1))
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.linalg.inv(to_ras)[:3, :3] @ np.diag(spacing)
    affine[:3, 3] = (-31.5, 12.25, 80)
    return affine
