"""Read DICOM folders, write derived series. No patient data in messages, nor (without ``keep_phi``) in sidecars."""

import logging
import warnings

from m2diff.io.dicom.index import SliceStack, choose, find_stacks, is_dicom
from m2diff.io.dicom.read import load_series
from m2diff.io.dicom.write import NOT_FOR_DIAGNOSIS, Derivation, write

__all__ = ["NOT_FOR_DIAGNOSIS", "Derivation", "SliceStack", "choose", "find_stacks", "is_dicom", "load_series", "write"]

# pydicom's warnings quote values: a malformed birth date would stand in every log.
warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
logging.getLogger("pydicom").setLevel(logging.ERROR)
