"""DICOM folders in, derived DICOM series out.

    frames.py   one file -> its frames: place, scale and time of each
    index.py    a folder's files -> the stacks of slices in it, without reading a pixel
    read.py     one stack -> a Volume
    sidecar.py  a header -> the BIDS keys that it can fill, without the patient
    write.py    a result -> a derived series beside the input's study

Patient data stays in the headers: nothing here puts a name, an identifier or a date into a message or a sidecar.
"""

import logging
import warnings

from m2diff.io.dicom.index import SliceStack, choose, find_stacks, is_dicom
from m2diff.io.dicom.read import load_series
from m2diff.io.dicom.write import NOT_FOR_DIAGNOSIS, Derivation, write

__all__ = ["NOT_FOR_DIAGNOSIS", "Derivation", "SliceStack", "choose", "find_stacks", "is_dicom", "load_series", "write"]

# pydicom's warnings quote the values they are about: a malformed birth date would stand in every log.
warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
logging.getLogger("pydicom").setLevel(logging.ERROR)
