"""One real array out of a MATLAB 5 file (-v6, -v7), read by hand.

scipy's reader ends the whole process (a segmentation fault) on some damaged files. The format is short: a header of
128 bytes, then elements of a type, a length and their bytes; an array is an element that holds flags, dimensions, a
name and numbers as elements of its own (MathWorks, MAT-File Format, level 5).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_REAL_CLASSES = range(6, 16)
"""double, single and whole numbers; below are cells, structures, text and sparse arrays."""
_COMPLEX = 0x08
MOST_BYTES = 1 << 28
"""Of one unpacked array: a slice is far smaller, and a few bytes can unpack to anything."""


@dataclass(frozen=True)
class Element:
    """A type and the bytes of one element."""

    kind: int
    data: bytes


def is_hdf5(raw: bytes) -> bool:
    """Whether a file is of MATLAB 7.3, which is HDF5 behind a similar header."""
    return raw[:4] == b"\x89HDF" or (raw[124:126] in (b"\x00\x02", b"\x02\x00") and raw[512:516] == b"\x89HDF")


def is_mat5(raw: bytes) -> bool:
    """Whether a file has the mark of MATLAB 5."""
    return raw[126:128] in (b"IM", b"MI")


def array(raw: bytes, name: str) -> npt.NDArray[Any] | None:
    """The real array ``name``; None where there is none. Raises ValueError on damaged files."""
    order = "<" if raw[126:128] == b"IM" else ">"
    for element in _elements(raw[128:], order, whole=False):
        if element.kind == _COMPRESSED:
            unpack = zlib.decompressobj()
            try:
                inner = unpack.decompress(element.data, MOST_BYTES)
            except zlib.error as trouble:
                raise ValueError("a packed array is damaged") from trouble
            element = next(_elements(inner, order), element)
        if element.kind == _MATRIX:
            found = _matrix(element.data, order, name)
            if found is not None:
                return found
    return None


def _matrix(data: bytes, order: str, name: str) -> npt.NDArray[Any] | None:
    """The array in one element, None where it is called otherwise."""
    parts = list(_elements(data, order))
    if len(parts) < 4 or parts[2].data.rstrip(b"\0") != name.encode():
        return None
    flags = int(np.frombuffer(parts[0].data[:4], f"{order}u4")[0])
    if flags & 0xFF not in _REAL_CLASSES or flags >> 8 & _COMPLEX:
        raise ValueError("the array is not one of real numbers")
    shape = [int(n) for n in np.frombuffer(parts[1].data, f"{order}i4")]
    if parts[3].kind not in _NUMBERS or min(shape, default=-1) < 0:
        raise ValueError("the array's numbers or sizes are of an unknown kind")
    values = np.frombuffer(parts[3].data, order + _NUMBERS[parts[3].kind])
    return values.reshape(shape, order="F")  # raises ValueError where the sizes do not fit


def _elements(data: bytes, order: str, *, whole: bool = True) -> Iterator[Element]:
    """Elements one after the other; within an array they begin at multiples of eight bytes (``whole``)."""
    at = 0
    while at + 8 <= len(data):
        kind, size = (int(n) for n in np.frombuffer(data, f"{order}u4", 2, at))
        if kind >> 16:  # a small one: its length in the upper half, its bytes in the place of the length
            kind, size = kind & 0xFFFF, kind >> 16
            yield Element(kind, data[at + 4 : at + 4 + min(size, 4)])
            at += 8
            continue
        if at + 8 + size > len(data):
            raise ValueError("an element is longer than the file")
        yield Element(kind, data[at + 8 : at + 8 + size])
        at += 8 + (size + 7) // 8 * 8 if whole else 8 + size
