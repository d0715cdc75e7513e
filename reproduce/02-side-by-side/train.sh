#!/usr/bin/env bash
# Every training behind the tables here: bash train.sh TRAIN_COHORT RUNS. Run again, it goes on where it stopped.
#
# The seven small presets get 1,000 steps of 4 slabs each; the ablations of M2Diff and of MAP-Diff 600 steps, and so does
# their baseline. One CPU thread a run, two runs at once: about an hour on two cores.
set -euo pipefail
data=$1 runs=$2
mkdir -p "$runs"
export OMP_NUM_THREADS=1 DATA=$data RUNS=$runs
m2diff train regress-small --data "$data" --out "$runs/prepare" --set train.steps=1 --set train.validate_scans=0 --jobs 2

jobs() { # name, preset, steps, then overrides
  for family in m2diff regress ddpm mdaa mfdiff mapdiff ddpet3d; do echo "$family-small $family-small 1000"; done
  echo "m2diff-600 m2diff-small 600"
  echo "ddpm-600 ddpm-small 600"
  echo "no-exchange m2diff-small 600 model.network.exchange=false"
  echo "no-agreement m2diff-small 600 model.loss.agreement=0 model.loss.pet=0.5 model.loss.mri=0.5"
  echo "attention m2diff-small 600 model.network.attention=[2] model.network.middle_attention=true"
  echo "slab-8 m2diff-small 600 model.network.slices=8 data.batch=8"
  echo "no-dose m2diff-small 600 model.network.dose=false"
  echo "no-modality-dropout m2diff-small 600 model.loss.dropout.mri=0"
  echo "mapdiff-600 mapdiff-small 600"
  echo "mapdiff-constant mapdiff-small 600 model.loss.power=0"
  echo "mapdiff-no-anchors mapdiff-small 600 model.loss.anchors=0"
}
one() {
  local name=$1 preset=$2 steps=$3 sets=()
  shift 3
  for override in "$@"; do sets+=(--set "$override"); done
  m2diff train "$preset" --data "$DATA" --out "$RUNS/$name" --device cpu --set train.threads=1 --set "train.steps=$steps" \
    "${sets[@]}" --quiet --licence "CC BY-NC 4.0 (non-commercial: trained on anatomies of OASIS-1 with Neuromorphometrics \
labels, CC BY-NC)" --about "72 simulated scans (m2diff simulate --randomise --head mixed, DRF 2, 4, 10, 20, 50, 100) of \
18 people of OASIS-1; credit OASIS and Neuromorphometrics"
}
export -f one
jobs | xargs -P 2 -I {} bash -c 'one {}'
