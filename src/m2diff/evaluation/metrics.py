"""Whole-brain scores of an image against a reference, inside a fixed mask.

With x the image, r the reference, sums and means over the voxels of the mask:

    peak   99.9th percentile of r           data range of PSNR and SSIM
    PSNR   10 log10(peak^2 / mean (x - r)^2)
    SSIM   Wang 2004 in 3D: Gaussian window of 11 voxels, sigma 1.5, K = .01 and .03, population covariance,
           data range = peak; mapped on the unmasked images, averaged over the mask
    NRMSE  sqrt(mean (x - r)^2 / mean r^2)
    NMSE   sum (x - r)^2 / sum r^2          = NRMSE^2
    NMAE   sum |x - r| / sum |r|
    bias   sum (x - r) / sum r, in percent

The mask never comes from the image, and nothing is scaled to fit: a scale error is an error. See docs/metrics.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log10

import numpy as np
from scipy import ndimage

from m2diff.errors import BadInput
from m2diff.shapes import MaskArray, VolumeArray

PEAK_PERCENTILE = 99.9
WINDOW = 11  # voxels of SSIM's Gaussian window, sigma 1.5


@dataclass(frozen=True)
class Scores:
    """One image against one reference; the module defines every score. PSNR is infinite for equal images."""

    psnr: float  # dB
    ssim: float
    nrmse: float
    nmse: float
    nmae: float
    bias_percent: float
    peak: float  # the data range of PSNR and SSIM, in the unit of the images
    voxels: int  # in the mask


def score(image: VolumeArray, reference: VolumeArray, mask: MaskArray) -> Scores:
    """Score ``image`` against ``reference`` (both (i, j, k), one unit) inside ``mask``."""
    check_comparable(image, reference, mask)
    x, r = image[mask].astype(np.float64), reference[mask].astype(np.float64)
    error = x - r
    mse, power, level = float(np.mean(error**2)), float(np.mean(r**2)), float(np.mean(np.abs(r)))
    peak = peak_of(reference, mask)
    nmse = mse / power
    return Scores(
        psnr=10 * log10(peak**2 / mse) if mse > 0 else inf,
        ssim=ssim(image, reference, mask, peak),
        nrmse=float(np.sqrt(nmse)),
        nmse=nmse,
        nmae=float(np.mean(np.abs(error))) / level,
        bias_percent=100 * float(np.mean(error) / np.mean(r)),
        peak=peak,
        voxels=int(mask.sum()),
    )


def mean_squared_error(image: VolumeArray, reference: VolumeArray, mask: MaskArray) -> float:
    """Mean of (image - reference)^2 over the mask, in the unit squared."""
    return float(np.mean((image[mask].astype(np.float64) - reference[mask].astype(np.float64)) ** 2))


def peak_of(reference: VolumeArray, mask: MaskArray) -> float:
    """The data range: the 99.9th percentile of the reference in the mask (the maximum would be one voxel's noise)."""
    peak = float(np.percentile(reference[mask], PEAK_PERCENTILE))
    if peak <= 0:
        raise BadInput("The reference must show activity inside the mask, but it holds none there; check both files.")
    return peak


def ssim(image: VolumeArray, reference: VolumeArray, mask: MaskArray, peak: float) -> float:
    """Mean structural similarity over the mask, by scikit-image; settings as in the module."""
    from skimage.metrics import structural_similarity

    if min(image.shape) < WINDOW:
        raise BadInput(
            f"SSIM's window needs at least {WINDOW} voxels along each axis, got a volume of {image.shape}; "
            "give the whole volume."
        )
    box = _box(mask)
    _, similarity = structural_similarity(
        reference[box].astype(np.float64),
        image[box].astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=peak,
        full=True,
    )
    return float(similarity[mask[box]].mean())


def check_comparable(image: VolumeArray, reference: VolumeArray, mask: MaskArray) -> None:
    """Refuse different shapes, an empty mask and values that are not finite."""
    if not image.shape == reference.shape == mask.shape:
        raise BadInput(
            f"Image, reference and mask must share one grid, got shapes {image.shape}, {reference.shape} and "
            f"{mask.shape}; resample them first."
        )
    if not mask.any():
        raise BadInput("The brain mask covers no voxel; give a mask that is above zero inside the brain.")
    for name, values in (("image", image), ("reference", reference)):
        if not np.isfinite(values[mask]).all():
            raise BadInput(f"The {name} must be finite inside the mask, but it holds NaN or infinity; repair it first.")
    if not reference[mask].any():
        raise BadInput("The reference must show activity inside the mask, but it is zero everywhere; check both files.")


def _box(mask: MaskArray) -> tuple[slice, ...]:
    """The mask's box and half an SSIM window around it: all that SSIM in the mask depends on."""
    box = []
    for span, size in zip(ndimage.find_objects(mask.astype(np.uint8))[0], mask.shape, strict=True):
        low = max(min(span.start - WINDOW // 2, size - WINDOW), 0)
        box.append(slice(low, min(max(span.stop + WINDOW // 2, low + WINDOW), size)))
    return tuple(box)
