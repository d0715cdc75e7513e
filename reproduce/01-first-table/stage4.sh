#!/usr/bin/env bash
# Stage 4 of the shipped weights, on a GPU: bash stage4.sh DATA STAGE3 OUT, from the runs of stage3.sh in STAGE3.
#
# 48 scans simulated afresh, both networks the same 1,165 steps of 16 slabs, side by side on one H100: some three minutes
# (6.7 steps a second of each). What was run did the steps of the control by M2Diff's pace and let the rate fall by the
# clock from step 472 (469 for the control) on, linearly to 0 at the last; these commands say the same in steps, and as such were
# not run. It began at those runs' weights rounded to four bits of fraction, as commit 00ff4e5 ships them.
set -euo pipefail
data=$1 stage3=$2 out=$3
export OMP_NUM_THREADS=1
m2diff simulate "$out/fresh" --subjects 48 --drf 2-100:4 --group both --seed 91 --anatomies "$data/malf" \
  --without 1001,1012,1107,1122,1128 --heads "$data/heads" --head mixed --randomise --jobs 16
for name in m2diff-base regress-base; do
  m2diff train --from "$stage3/$name" --data "$out/fresh" --out "$out/$name" --jobs 16 \
    --set 'data.held_out=[1036]' --set data.batch=16 --set data.target=standard --set data.augmentation.mri_shift=0.1 \
    --set train.schedule=constant --set train.steps=1165 --set train.cooldown=693 --set train.lr=7e-4 \
    --set train.warmup=50 --set train.ema_decay=0.995 --set train.validate_scans=0 --set train.seed=3 \
    --licence "CC BY-NC 4.0 (non-commercial: trained on anatomies of OASIS-1 with Neuromorphometrics labels, CC BY-NC)" \
    --about "trained on 160 simulated scans (m2diff simulate --randomise --head mixed, seed 21, DRF 4 to 100), then 72 \
(seed 41, DRF 2 to 100), then 48 (seed 91, DRF 2 to 100), of 18 people of OASIS-1; credit OASIS and Neuromorphometrics"
done
