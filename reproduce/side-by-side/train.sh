#!/usr/bin/env bash
# Every training behind the tables here: bash train.sh TRAIN_COHORT RUNS. Run again, it goes on where it stopped.
#
# All get 600 steps: the seven small presets 4 slabs a step, and after them the ablations, each one idea away from its
# family's (slab-8: slabs half as deep, twice as many). One CPU thread a run, two at once: 7 to 10 minutes a run.
set -euo pipefail
data=$1 runs=$2
mkdir -p "$runs"
export OMP_NUM_THREADS=1 DATA=$data RUNS=$runs
m2diff train regress-small --data "$data" --out "$runs/prepare" --set train.steps=1 --set train.validate_scans=0 --jobs 2

jobs() { # name, preset, then overrides
  for family in m2diff ddpm regress mdaa mapdiff mfdiff ddpet3d; do echo "$family-small $family-small"; done
  echo "no-exchange m2diff-small model.network.exchange=false"
  echo "no-agreement m2diff-small model.loss.agreement=0 model.loss.pet=0.5 model.loss.mri=0.5"
  echo "no-dose m2diff-small model.network.dose=false"
  echo "no-modality-dropout m2diff-small model.loss.dropout.mri=0"
  echo "slab-8 m2diff-small model.network.slices=8 data.batch=8"
  echo "mapdiff-constant mapdiff-small model.loss.power=0"
  echo "mapdiff-no-anchors mapdiff-small model.loss.anchors=0"
  echo "attention m2diff-small model.network.attention=[2] model.network.middle_attention=true"
}
one() {
  local name=$1 preset=$2 sets=()
  shift 2
  for override in "$@"; do sets+=(--set "$override"); done
  m2diff train "$preset" --data "$DATA" --out "$RUNS/$name" --device cpu --set train.threads=1 "${sets[@]}" --quiet \
    --licence "CC BY-NC 4.0 (non-commercial: trained on anatomies of OASIS-1 with Neuromorphometrics \
labels, CC BY-NC)" --about "72 simulated scans (m2diff simulate --randomise --head mixed, DRF 2, 4, 10, 20, 50, 100) of \
18 people of OASIS-1; credit OASIS and Neuromorphometrics"
}
export -f one
jobs | xargs -P 2 -I {} bash -c 'one {}'
