#!/usr/bin/env bash
# Stage 9 of the shipped weights, on a GPU: bash stage9.sh DATA STAGE8 OUT, from STAGE8/m2diff-base.safetensors and
# STAGE8/regress-base.safetensors with their cards, as commit 2c783f5 ships them. Run again, it goes on.
#
# More people: besides 102 scans of the 17 training people, simulated afresh, 80 of the anatomies that paint.py makes of
# twenty whole-head label maps; and in the loss what of an error goes with the truth (loss.shrinkage). Both networks 3,850
# steps of 12 slabs of 120 x 104; the rate falls to nothing over the last 2,000 of them. What was run did the two side by
# side on one H200 in under 12 minutes, by the clock: from the first 16 scans on, as they were made, in seven parts (35 scans
# from step 150 on, 64 from 520, 105 from 1,010, 156 from 1,610, all from 2,210); the control never more than nine steps
# ahead, so that it came to 3,866 of them and M2Diff to 3,845. These commands say the same in steps, and as such were not run. On
# the cards the two paintings of a map count as one person, by hand.
set -euo pipefail
here=$(dirname "$0")
data=$1 stage8=$2 out=$3 start=$2 levels=5 shrinkage=4 seed=10
fresh=", 100 (seeds 201 to 204, DRF 2 to 100), 95 (seeds 301 to 304, DRF 2 to 100) and, judges alone, 73 (seeds 901 and \
902, DRF 2 to 100) and 182 (seeds 401 to 403, DRF 2 to 100)"
people="17 people of OASIS-1 and (seed 403) of 20 whole-head label maps"
export OMP_NUM_THREADS=1
. "$here/fresh.sh"
[ -d "$out/painted" ] || python "$here/paint.py" "$data/heads" "$out/painted" --jobs "$jobs"
cohort a1 51 401 2-100:4
cohort a2 51 402 5,20,50,100
anatomies=$out/painted cohort p1 80 403 5,20,50,100 --heads "$out/heads" --head mixed
further m2diff-base all 3845 2000 6e-4
further regress-base all 3866 2000 6e-4
for name in m2diff-base regress-base; do
  python "$here/average.py" "$start/$name.safetensors" "$out/$name" 0.7 "$out/average/$name"
done
