#!/usr/bin/env bash
# MFdiff's second stage, and the same for the conditional DDPM: bash stage_two.sh DATA RUNS OUT. Run again, it goes on.
#
# The target domain is another scanner and another tracer of the simulator (an older PET/CT, an amyloid tracer). The first
# stage is RUNS/mfdiff-small and RUNS/ddpm-small; the second sees 18 scans of the target's as real ones would come: no
# noise-free image to aim at, no tissues taught. "alone": the same scans, steps and settings from random weights.
set -euo pipefail
data=$1 runs=$2 out=$3
export OMP_NUM_THREADS=1
domain=(--tracer amyloid --scanner pet-ct --group both --anatomies "$data/malf" --head grown)
held_out=1001,1012,1107,1122,1128
m2diff simulate "$out/train" --subjects 18 --drf 4,20,100 --seed 51 --without $held_out "${domain[@]}"
m2diff simulate "$out/test" --subjects 10 --drf 4,20,100 --seed 87 --persons $held_out "${domain[@]}"
for family in mfdiff ddpm; do
  common=(--data "$out/train" --device cpu --quiet --set train.threads=1 --set train.validate_scans=0
    --set data.held_out_fraction=0 --set data.target=standard --set model.loss.classes=0 --set train.steps=300
    --set train.warmup=30)
  m2diff train --from "$runs/$family-small" "${common[@]}" --out "$out/two-$family" --set train.lr=5e-4
  m2diff train "$family-small" "${common[@]}" --out "$out/alone-$family" --set train.lr=1e-3
done
m2diff benchmark --data "$out/train" --test "$out/test" --out "$out/table" --against two-mfdiff --quiet \
  --methods "mr-guided,$runs/mfdiff-small,$out/two-mfdiff,$out/alone-mfdiff" \
  --methods "$runs/ddpm-small,$out/two-ddpm,$out/alone-ddpm"
