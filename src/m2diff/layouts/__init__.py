"""Data sets as people have them, and the way from each of them to BIDS (and back, for the authors' slices).

    visit.py     the noun: one session of one person, its doses and its MRI, nothing read yet
    dacra.py     Monash DaCRA / visfPET-fMRI (OpenNeuro ds003397): dynamic FDG, one run a scan
    adni.py      exports of the Image and Data Archive: ADNI/SUBJECT/DESCRIPTION/DATE/IMAGE, XML beside it
    udpet.py     the UDPET challenge: one folder a person, one image or DICOM folder a dose
    sliced.py    folders of 2D .mat slices (LD, SD, T1 under train, val, test), read and written
    bids_out.py  visits -> a BIDS data set that `m2diff train` and `m2diff bids` read

Each layout is one file with ``recognises`` and ``visits``; a new one is that and a row in ``LAYOUTS``.
"""

from m2diff.layouts.convert import LAYOUTS, convert, recognise

__all__ = ["LAYOUTS", "convert", "recognise"]
