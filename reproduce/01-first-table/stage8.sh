#!/usr/bin/env bash
# Stage 8 of the shipped weights, on a CPU: bash stage8.sh DATA STAGE7 OUT, from the averages of stage7.sh. Run again, it goes
# on. About an hour and a quarter on two cores.
#
# Only the judges of both networks are taught anew, on 73 scans of the 17 training people that no stage has seen: with more
# weight on that part of the error which goes with the truth itself (teach_judge.py --keep 2), so that regions are less biased.
# What was run did the same by scratch code: it asked for the slabs in two halves, of seeds 1 and 2, of the weights as stage 7
# had packed them, and kept what it saw in float16; teach_judge.py then taught. This script, as such, was not run.
set -euo pipefail
here=$(dirname "$0")
data=$1 stage7=$2 out=$3
export OMP_NUM_THREADS=1
mkdir -p "$out/heads" "$out/all" "$out/taught"
for n in {01..12}; do ln -sfn "$(realpath "$data")/heads/training_seg_$n.nii.gz" "$out/heads/"; done
cohort() { # NAME SUBJECTS SEED DRF, and people and heads
  m2diff simulate "$out/$1" --subjects "$2" --seed "$3" --drf "$4" --group both --anatomies "$data/malf" \
    --without "$5" --head "${@:6}" --randomise --jobs 2
  python -c 'import sys; from m2diff.data.cohort import prepare_cohort; prepare_cohort(*sys.argv[1:], jobs=2)' \
    "$out/$1" "$out/$1/prepared"
  for scan in "$(realpath "$out/$1")"/prepared/sub-*; do ln -sfn "$scan" "$out/all/$(basename "$scan")$1"; done
}
cohort ana 64 901 20,100 1001,1012,1107,1122,1128 grown
cohort r902 12 902 2-100:4 1001,1012,1107,1122,1128,1036 mixed --heads "$out/heads"
for name in m2diff-base regress-base; do
  [ -f "$out/taught/$name.safetensors" ] || python "$here/teach_judge.py" "$out/all" \
    "$stage7/average/$name/weights.safetensors" "$out/taught/$name.safetensors" --items 1200 --keep 2 \
    --about "73 others (seed 901, DRF 20 and 100, and seed 902, DRF 2 to 100) of 17 of them"
done
