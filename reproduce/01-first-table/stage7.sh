#!/usr/bin/env bash
# Stage 7 of the shipped weights, on a GPU: bash stage7.sh DATA STAGE6 OUT, from STAGE6/m2diff-base.safetensors and
# STAGE6/regress-base.safetensors with their cards, as commit 2e9e83c ships them. Run again, it goes on.
#
# The networks are told how a scan was reconstructed (network.recon): widened, they answer as before, and learn what to make
# of it on 95 scans simulated afresh, in four cohorts as in stage 6. Both the same budget, 2,800 steps of 12 slabs of
# 120 x 104; then weights six tenths of the way to the end, for both. What was run did the two side by side on one H200 in nine
# minutes, by the clock: on the first 32 scans up to step 1,000 (M2Diff) and 1,340 (control), then on the 45 that were ready,
# and on all 95 (29 of b2's 34; here the first) for the last 608 steps; M2Diff's time was up at step 2,776. These
# commands say the same in steps, and as such were not run.
set -euo pipefail
here=$(dirname "$0")
data=$1 stage6=$2 out=$3 start=$3/told levels=5 seed=9
fresh=", 100 (seeds 201 to 204, DRF 2 to 100) and 95 (seeds 301 to 304, DRF 2 to 100)"
export OMP_NUM_THREADS=1
. "$here/fresh.sh"
cohort a1 16 301 2-100:4
cohort a2 16 302 4,20,50,100
cohort b1 34 303 2-100:4
cohort b2 29 304 4,20,50,100
mkdir -p "$start"
for name in m2diff-base regress-base; do
  python "$here/widen.py" "$stage6/$name.safetensors" "$start/$name.safetensors" model.network.recon=true
done
further m2diff-base first 1000 0 6e-4
further regress-base first 1340 0 6e-4
for name in m2diff-base regress-base; do
  further "$name" all 2192 775 6e-4
  further "$name" all 2800 600 5e-4
  python "$here/average.py" "$start/$name.safetensors" "$out/$name" 0.6 "$out/average/$name"
done
