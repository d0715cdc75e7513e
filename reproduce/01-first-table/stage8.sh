#!/usr/bin/env bash
# Stage 8 of the shipped weights, on a CPU: bash stage8.sh DATA STAGE7 OUT, from the averages of stage7.sh. Run again, it goes
# on.
#
# Only the judges of both networks are taught on, on 73 scans of the 17 training people that no stage has seen: with more
# weight on that part of the error which goes with the truth itself (teach_judge.py --keep 2), so that regions are less biased.
# What was run did the same by scratch code: it asked for the slabs in two halves, of seeds 1 and 2, of the weights as stage 7
# had packed them, and kept what it saw in float16; teach_judge.py at commit 455bed6 then taught. This script, as such, was not
# run.
set -euo pipefail
here=$(dirname "$0")
data=$1 stage7=$2 out=$3 jobs=2
export OMP_NUM_THREADS=1
. "$here/fresh.sh"
mkdir -p "$out/taught"
cohort b1 64 901 20,100 --without 1001,1012,1107,1122,1128 --head grown
cohort b2 12 902 2-100:4
for name in m2diff-base regress-base; do
  [ -f "$out/taught/$name.safetensors" ] || python "$here/teach_judge.py" "$out/all" \
    "$stage7/average/$name/weights.safetensors" "$out/taught/$name.safetensors" --items 1200 --keep 2 \
    --about "73 others (seed 901, DRF 20 and 100, and seed 902, DRF 2 to 100) of 17 of them"
done
