#!/usr/bin/env bash
# Stages 1 and 2 of the shipped weights: bash train.sh DATA OUT, at commit 7c07d9e, on a machine with a GPU and 16 cores.
#
# DATA holds the anatomies (malf) and head label maps (heads; the first twelve were used). Both networks get the same
# scans, batch and settings, the same time in stage 1 and the same steps in stage 2. What was run did both networks and
# the simulation side by side, and in stage 2 the constant rate first and, resumed, the fall: 13 minutes on one H200.
# This script does the same one after the other, and as such was not run.
set -euo pipefail
data=$1 out=$2
export OMP_NUM_THREADS=1
simulate=(m2diff simulate "$out/train" --drf 4-100:4 --group both --seed 21 --anatomies "$data/malf"
  --without 1001,1012,1107,1122,1128 --heads "$data/heads" --head mixed --randomise --jobs 16)
common=(--data "$out/train" --jobs 16 --set 'data.held_out=[1036]' --set data.batch=8 --set train.schedule=constant
  --set train.lr=1e-3 --set train.warmup=100 --set train.validate_scans=0)

# Stage 1: the first 48 scans, while the others are still being simulated.
"${simulate[@]}" --subjects 48
for preset in m2diff-base regress-base; do
  steps=728; [ $preset = regress-base ] && steps=1129  # what two minutes side by side gave each
  m2diff train $preset "${common[@]}" --out "$out/stage1-$preset" --set train.steps=$steps --set train.ema_decay=0.995
done

# Stage 2: all 160 scans; the rate falls to zero over the last 1,298 of 3,386 steps.
"${simulate[@]}" --subjects 160
for preset in m2diff-base regress-base; do
  m2diff train $preset "${common[@]}" --out "$out/stage2-$preset" --from "$out/stage1-$preset/weights.safetensors" \
    --set train.seed=1 --set train.ema_decay=0.998 --set train.steps=3386 --set train.cooldown=1298
done
