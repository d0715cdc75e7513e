#!/usr/bin/env bash
# M2Diff and the conditional DDPM at -base size, from random weights: bash base.sh TRAIN_COHORT TEST_COHORT OUT.
#
# 300 steps of 4 slabs for each, one CPU thread a run, side by side: some 20 minutes. Run again, it goes on.
set -euo pipefail
train=$1 test=$2 out=$3
export OMP_NUM_THREADS=1
for name in m2diff-base ddpm-base; do
  m2diff train $name --data "$train" --out "$out/$name" --device cpu --set train.threads=1 --quiet \
    --set 'data.held_out=[1036]' --set data.batch=4 --set 'data.crop=[80,80]' --set data.target=standard \
    --set model.diffusion.first_step_share=0.8 --set train.schedule=cosine --set train.steps=300 --set train.lr=1e-3 \
    --set train.warmup=30 --set train.ema_decay=0.98 --set train.validate_scans=0 --set train.seed=2 &
done
wait
m2diff benchmark --data "$train" --test "$test" --out "$out/table" --drf 20,100 --against m2diff-base \
  --methods "$out/m2diff-base,$out/ddpm-base"
