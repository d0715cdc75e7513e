"""Make a cohort of the second simulated world; the same command goes on where an earlier one stopped.

python reproduce/second-world/make.py --anatomies FOLDER --persons 1001 1012 --out DIR --jobs 1
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from m2diff.errors import BadInput
from world import DRFS, make_cohort


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anatomies", type=Path, required=True, help="folder of T1s, labels, tissues and names")
    parser.add_argument("--persons", nargs="+", required=True, help="names of anatomies")
    parser.add_argument("--drf", nargs="+", type=float, default=list(DRFS), help="dose reduction factors")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1, help="persons made at once")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        make_cohort(given.anatomies, given.persons, given.out, drfs=given.drf, seed=given.seed, jobs=given.jobs)
    except BadInput as refusal:
        sys.exit(str(refusal))


if __name__ == "__main__":
    main()
