"""One array out of each of several .mat files, by SciPy, run as a program of its own.

SciPy's reader ends the process on some damaged files, and a few bytes can ask for all memory. ``sliced`` starts this
file, so that neither reaches the one who asked. Standard input: a JSON object, ``name`` of the array and ``paths``.
Standard output: the arrays, as ``numpy.save`` writes them, up to the first that cannot be read; standard error: why.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import suppress

import numpy as np
from scipy.io import loadmat

MOST_BYTES = 4 << 30
"""Of memory, this process whole: a slice is far smaller."""


def _read() -> None:
    """Read what standard input names."""
    _limit_memory()
    asked = json.load(sys.stdin)
    for path in asked["paths"]:
        try:
            array = loadmat(path, variable_names=[asked["name"]]).get(asked["name"], np.empty(0))
        except NotImplementedError:
            sys.exit("MATLAB 7.3")  # which is HDF5, and SciPy says so by this
        except Exception as trouble:  # whatever damaged bytes provoke
            sys.exit(type(trouble).__name__)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            sys.exit("not of real numbers")
        whole = io.BytesIO()
        np.save(whole, array, allow_pickle=False)
        sys.stdout.buffer.write(whole.getbuffer())
        sys.stdout.buffer.flush()


def _limit_memory() -> None:
    """Let the system refuse more; where it cannot, nothing changes."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        allowed = MOST_BYTES if most == resource.RLIM_INFINITY else min(MOST_BYTES, most)
        resource.setrlimit(resource.RLIMIT_AS, (allowed, most))


if __name__ == "__main__":
    _read()
