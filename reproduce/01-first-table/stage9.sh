#!/usr/bin/env bash
# Stage 9 of the shipped weights, on a GPU: bash stage9.sh DATA STAGE8 OUT, from STAGE8/m2diff-base.safetensors and
# STAGE8/regress-base.safetensors with their cards, as commit 2c783f5 ships them. Run again, it goes on.
#
# More people: besides 102 scans of the 17 training people, simulated afresh, 80 of the anatomies that paint.py makes of
# twenty whole-head label maps; and in the loss what of an error goes with the truth (loss.shrinkage). M2Diff 3,845 and the
# control 3,866 steps of 12 slabs of 120 x 104; the rate falls to nothing over the last 2,000 or so. What was run did the two
# side by side on one H200 in under 12 minutes, by the clock (so the cards' settings say a constant rate): from the first 16
# scans on, as they were made (35 from step 150 on, 64 from 520, 105 from 1,010, 156 from 1,610, all from 2,210); the control
# never more than nine steps ahead until the last ten seconds. These commands say the same in steps, and as such were not run.
# What was run also painted the lesions that the maps mark (25 and 57; 0.7 to 45 mL a head) as CSF, which paint.py has as white
# matter since. On the cards the two paintings of a map count as one person, by hand.
set -euo pipefail
here=$(dirname "$0")
data=$1 start=$2 out=$3 levels=5 shrinkage=4 seed=10
fresh=", 100 (seeds 201 to 204, DRF 2 to 100), 95 (seeds 301 to 304, DRF 2 to 100), 182 (seeds 401 to 403, DRF 2 to 100) \
and, judges alone, 73 (seeds 901 and 902, DRF 2 to 100)"
people="17 people of OASIS-1 and (seed 403) of 20 whole-head label maps of Apache-2.0"
export OMP_NUM_THREADS=1
. "$here/fresh.sh"
if [ ! -d "$out/painted" ]; then
  python "$here/paint.py" "$data/heads" "$out/painted.part" --jobs "$jobs"
  mv "$out/painted.part" "$out/painted"
fi
cohort a1 51 401 2-100:4
cohort a2 51 402 5,20,50,100
anatomies=$out/painted cohort p1 80 403 5,20,50,100 --heads "$out/heads" --head mixed
further m2diff-base all 3845 2000 6e-4
further regress-base all 3866 2000 6e-4
for name in m2diff-base regress-base; do
  python "$here/average.py" "$start/$name.safetensors" "$out/$name" 0.7 "$out/average/$name"
done
