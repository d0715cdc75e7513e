"""SimpleITK for registration: images in its world, and a search that is reproducible."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from m2diff.shapes import Affine

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # RAS <-> ITK's LPS
SEED = 1
Levels: TypeAlias = tuple[tuple[int, float, float], ...]
"""Of a search: shrink factor, smoothing (mm) and share of the voxels of each level."""


def search(levels: Levels) -> Any:
    """The search: metric, optimiser and resolution levels."""
    import SimpleITK as sitk

    search = sitk.ImageRegistrationMethod()
    search.SetMetricAsMattesMutualInformation(32)
    search.SetMetricSamplingStrategy(search.RANDOM)
    search.SetMetricSamplingPercentagePerLevel([sample for _, _, sample in levels], SEED)
    search.SetInterpolator(sitk.sitkLinear)
    search.SetOptimizerAsRegularStepGradientDescent(
        learningRate=4.0, minStep=0.02, numberOfIterations=120, relaxationFactor=0.6, gradientMagnitudeTolerance=1e-6
    )
    search.SetOptimizerScalesFromPhysicalShift()
    search.SetShrinkFactorsPerLevel([shrink for shrink, _, _ in levels])
    search.SetSmoothingSigmasPerLevel([sigma for _, sigma, _ in levels])
    search.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    return search


def affine(matrix: npt.NDArray[Any]) -> Any:
    """An ITK transform of a matrix (4, 4) between worlds in RAS+."""
    import SimpleITK as sitk

    inside = LPS @ matrix @ LPS
    return sitk.AffineTransform(inside[:3, :3].ravel().tolist(), inside[:3, 3].tolist())


def found(fixed: Any, moving: Any, within: Any, transform: Any, levels: Levels) -> bool:
    """Whether a search in the mask ``within`` of ``fixed`` ended; sets ``transform``. One thread: reproducible sums."""
    import SimpleITK as sitk

    started = search(levels)
    started.SetMetricFixedMask(within)
    started.SetInitialTransform(transform, inPlace=True)
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        started.Execute(fixed, moving)
    except RuntimeError:  # the images no longer overlap
        return False
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    return True


def image(data: npt.NDArray[Any], affine: Affine) -> Any:
    """An ITK image of an array (i, j, k)."""
    import SimpleITK as sitk

    world = LPS @ affine
    edges = np.linalg.norm(world[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(np.transpose(data)))
    image.SetSpacing(edges.tolist())
    image.SetOrigin(world[:3, 3].tolist())
    image.SetDirection((world[:3, :3] / edges).ravel().tolist())
    return image
