#!/usr/bin/env bash
# Stage 5 of the shipped weights, on a CPU, at commit 25a2a52: bash stage5.sh COHORT STAGE4 OUT, from the runs of stage4.sh.
# Run again, it goes on.
#
# Both networks get a fourth window of their fits and a judge that sees the whole slab, taught on what the frozen network
# says (teach_judge.py), and then 1,050 steps of 4 slabs each, with the error of the tissues' levels in the loss. COHORT is
# a prepared cache: the 72 scans of ../02-side-by-side and the first 24 of train.sh (seed 21), which share their names and
# so were put side by side under other ones. What was run did the two networks side by side, a thread each, by
# these commands one at a time; the control's step takes 3.4 s, M2Diff's 4.1. What ships lies six tenths of the way from the
# start to the end (average.py): on two scans of person 1036 that was 0.01 to 0.04 dB better than the end, for both networks.
set -euo pipefail
cohort=$1 stage4=$2 out=$3
export OMP_NUM_THREADS=1
for name in m2diff-base regress-base; do
  taught=$out/taught-$name.safetensors
  [ -f "$taught" ] || python "$(dirname "$0")/teach_judge.py" "$cohort" "$stage4/$name/weights.safetensors" "$taught"
  m2diff train --from "$taught" --data "$cohort" --out "$out/$name" --device cpu --set train.threads=1 \
    --set 'data.held_out=[1036]' --set data.batch=4 --set 'data.crop=[80,80]' --set data.target=standard \
    --set data.augmentation.mri_shift=0.1 --set model.loss.levels=2 --set train.schedule=cosine --set train.steps=1050 \
    --set train.lr=4e-4 --set train.warmup=30 --set train.ema_decay=0.99 --set train.validate_scans=0 --set train.seed=5 \
    --licence "CC BY-NC 4.0 (non-commercial: trained on anatomies of OASIS-1 with Neuromorphometrics labels, CC BY-NC)" \
    --about "trained on 160 simulated scans (m2diff simulate --randomise --head mixed, seed 21, DRF 4 to 100), 72 (seed 41, \
DRF 2 to 100) and 48 (seed 91, DRF 2 to 100), of 18 people of OASIS-1; credit OASIS and Neuromorphometrics"
  python "$(dirname "$0")/average.py" "$taught" "$out/$name" 0.6 "$out/average/$name"
done
