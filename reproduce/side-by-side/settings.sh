#!/usr/bin/env bash
# What some settings of training buy the small M2Diff, one at a time: bash settings.sh DATA TEST OUT. Run again, it goes on.
#
# TEST is the README's test cohort. 64 scans of 18 other people at DRF 20 and 100, random scanners; 600 steps of 4 slabs
# each, one seed, one CPU thread a run, 14 minutes beside another.
set -euo pipefail
data=$1 test=$2 out=$3
export OMP_NUM_THREADS=1
mkdir -p "$out/runs"
m2diff simulate "$out/random" --subjects 64 --drf 20,100 --group both --seed 901 --anatomies "$data/malf" \
  --without 1001,1012,1107,1122,1128 --head grown --randomise --jobs 2
one() { # name, then overrides
  local name=$1 sets=()
  shift
  for override in "$@"; do sets+=(--set "$override"); done
  m2diff train m2diff-small --data "$out/random" --out "$out/runs/$name" --device cpu --set train.threads=1 \
    --set train.validate_scans=0 "${sets[@]}" --quiet
}
one whole
one no-average train.ema_decay=0
one no-augmentation data.augmentation.enabled=false
one no-balance model.loss.balance=false
one standard-target data.target=standard
one shrinkage model.loss.shrinkage=4
at=$out/runs
m2diff benchmark --data "$out/random" --test "$test" --out "$out/table" --drf 20,100 --against whole --jobs 2 \
  --methods "$at/whole,$at/no-average,$at/no-augmentation,$at/no-balance,$at/standard-target,$at/shrinkage"
