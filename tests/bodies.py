"""Synthetic bodies: a person from the crown downwards as ellipsoids of FDG uptake (SUV), with any organ and noise."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from scipy import ndimage

from m2diff.volume import Volume

MM = 4.0
CORTEX, WHITE = 8.0, 3.5
BRAIN = ((0, -5, -78), (64, 82, 62))


def body(length=900.0, *, heart=12.0, bladder=40.0, brain=1.0, arms="down", noise=0.0, air=40.0, seed=0, width=480.0):
    """RAS+ volume: crown at z = 0, from ``air`` mm above it down to ``-length``; a negative ``air`` cuts the head off.

    ``noise``: standard deviation at an activity of 1 (SUV), with a correlation of 6 mm.
    """
    size = np.array([width, 320.0, length + air])
    shape = tuple(int(n) for n in np.round(size / MM))
    affine = np.diag([MM, MM, MM, 1.0])
    affine[:3, 3] = [-size[0] / 2 + MM / 2, -size[1] / 2 + MM / 2, -length + MM / 2]
    x, y, z = (
        (np.arange(n) * MM + o).reshape([-1 if a == b else 1 for b in range(3)])
        for a, (n, o) in enumerate(zip(shape, affine[:3, 3], strict=True))
    )
    image = np.zeros(shape, dtype=np.float32)

    def ball(centre, radii, value):
        r = ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 + ((z - centre[2]) / radii[2]) ** 2
        image[r < 1] = value

    def rod(centre, radii, ends, value):
        r = ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2
        image[(r < 1) & (z > ends[0]) & (z < ends[1])] = value

    if arms:
        for side in (-1, 1):
            ends = (-850, -290) if arms == "down" else (-320, 250)
            rod((side * (205 if arms == "down" else 135), 0), (38, 38), ends, 0.6)
    ball((0, 0, -115), (76, 96, 115), 0.7)
    rod((0, -10), (58, 62), (-300, -170), 0.7)
    rod((0, 0), (175, 112), (-880, -330), 0.7)
    ball((0, 0, -340), (185, 105, 75), 0.7)
    for side in (-1, 1):
        ball((side * 85, 0, -450), (62, 85, 110), 0.4)
    ball((-85, 10, -630), (85, 85, 85), 2.2)
    if heart:
        ball((25, 30, -480), (50, 50, 55), heart)
        ball((25, 30, -480), (34, 34, 40), 1.5)
    if bladder:
        ball((0, 40, -840), (45, 40, 40), bladder)
    ball(*BRAIN, CORTEX * brain)
    ball(BRAIN[0], (40, 56, 38), WHITE * brain)
    clean = ndimage.gaussian_filter(image, 6 / 2.355 / MM)
    rng = np.random.default_rng(seed)
    grain = ndimage.gaussian_filter(rng.normal(size=shape).astype(np.float32), 6 / 2.355 / MM)
    grain *= noise / grain.std()
    noisy = clean + grain * np.sqrt(np.maximum(clean, 0) + 0.005)
    return Volume(np.maximum(noisy, 0).astype(np.float32), affine, "SUV")


def turned(volume, axes, flips=()):
    """The same scan stored with its axes in another order and direction."""
    image = nib.Nifti1Image(volume.data, volume.affine)
    orientation = np.array([[axes.index(a), -1 if a in flips else 1] for a in range(3)])
    other = image.as_reoriented(orientation)
    return Volume(np.ascontiguousarray(np.asarray(other.dataobj)), other.affine, volume.unit)
