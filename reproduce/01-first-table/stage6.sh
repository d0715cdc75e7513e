#!/usr/bin/env bash
# Stage 6 of the shipped weights, on a GPU: bash stage6.sh DATA STAGE5 OUT, from STAGE5/m2diff-base.safetensors and
# STAGE5/regress-base.safetensors with their cards, as commit 25a2a52 ships them. Run again, it goes on.
#
# 100 scans simulated afresh, in four cohorts: doses drawn from 2 to 100, or 4, 20, 50 and 100 for each scan; heads are the
# first 12 maps of DATA/heads. Both networks the same 3,590 steps of 12 slabs of 120 x 104, towards the standard scan that
# is to be expected, high DRFs drawn more often. What was run did the two side by side on one H200 (ten and a half minutes in
# all; 5.6 and 7.2 steps a second), began on the first 32 scans while the others were being simulated, and went over to all
# 100 at step 1,539 (M2Diff) and 2,019 (control): by the clock, so that the control saw the 32 for longer. These commands
# say the same in steps, and as such were not run.
set -euo pipefail
data=$1 start=$2 out=$3 levels=2 seed=8
fresh=" and 100 (seeds 201 to 204, DRF 2 to 100)"
export OMP_NUM_THREADS=1
. "$(dirname "$0")/fresh.sh"
cohort a1 16 201 2-100:4
cohort a2 16 202 4,20,50,100
cohort b1 34 203 2-100:4
cohort b2 34 204 4,20,50,100
further m2diff-base first 1539 0 6e-4
further regress-base first 2019 0 6e-4
for name in m2diff-base regress-base; do
  further "$name" all 3105 1017 6e-4
  further "$name" all 3590 485 4e-4
done
