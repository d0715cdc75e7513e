#!/usr/bin/env bash
# Stage 3 of the shipped weights, on a CPU, at commit 199222e: bash stage3.sh COHORT STAGE2 OUT. Run again, it goes on.
#
# Both networks of stage 2 (in STAGE2, .safetensors and .json, as commit dd8e1ed ships them) get a judge of their
# fits and 800 steps more, at DRF 2 to 100 and towards the standard scans. COHORT is the training cohort of
# ../02-side-by-side. M2Diff's loss is that of the mean of its heads and of each; the control has one head.
# What was run did the two networks side by side, by these commands one at a time; this script, as such, was not run.
set -euo pipefail
cohort=$1 stage2=$2 out=$3
export OMP_NUM_THREADS=1
for name in m2diff-base regress-base; do
  taught=$out/taught-$name.safetensors
  [ -f "$taught" ] || python "$(dirname "$0")/teach_judge.py" "$cohort/derivatives/m2diff-prepared" \
    "$stage2/$name.safetensors" "$taught"
  loss=()
  [ $name = m2diff-base ] && for term in pet=0.25 mri=0.25 agreement=0 mean=0.5; do loss+=(--set "model.loss.$term"); done
  m2diff train --from "$taught" --data "$cohort" --out "$out/$name" --device cpu --set train.threads=1 \
    --set 'data.held_out=[1036]' --set data.batch=4 --set 'data.crop=[80,80]' --set data.target=standard \
    --set train.schedule=cosine --set train.steps=800 --set train.lr=3e-4 --set train.warmup=30 \
    --set train.ema_decay=0.99 --set train.validate_scans=0 --set train.seed=2 "${loss[@]}" --licence "CC BY-NC 4.0 \
(non-commercial: trained on anatomies of OASIS-1 with Neuromorphometrics labels, CC BY-NC)" --about "trained on 160 \
simulated scans (m2diff simulate --randomise --head mixed, seed 21, DRF 4 to 100) on a GPU, then on 72 others (seed 41, DRF \
2 to 100) on a CPU, of 18 people of OASIS-1; credit OASIS and Neuromorphometrics"
done
