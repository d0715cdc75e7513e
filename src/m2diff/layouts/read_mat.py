"""A program that reads one array from each of several .mat files with SciPy.

Some damaged files end SciPy's process or ask for all memory, so ``sliced`` runs it apart. Standard input: JSON with the
array's ``name`` and ``paths``. Standard output: ``numpy.save`` arrays up to the first failure; standard error: why.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import suppress

import numpy as np
from scipy.io import loadmat

MOST_BYTES = 4 << 30
"""Memory limit of the whole process; a slice is far smaller."""


def _read() -> None:
    _limit_memory()
    asked = json.load(sys.stdin)
    for path in asked["paths"]:
        try:
            array = loadmat(path, variable_names=[asked["name"]]).get(asked["name"], np.empty(0))
        except NotImplementedError:
            sys.exit("MATLAB 7.3")  # an HDF5 file, by SciPy's error
        except Exception as trouble:  # whatever damaged bytes provoke
            sys.exit(type(trouble).__name__)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            sys.exit("not of real numbers")
        whole = io.BytesIO()
        np.save(whole, array, allow_pickle=False)
        sys.stdout.buffer.write(whole.getbuffer())
        sys.stdout.buffer.flush()


def _limit_memory() -> None:
    """Limit the memory, where the system can."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        allowed = MOST_BYTES if most == resource.RLIM_INFINITY else min(MOST_BYTES, most)
        resource.setrlimit(resource.RLIMIT_AS, (allowed, most))


if __name__ == "__main__":
    _read()
