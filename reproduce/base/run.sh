#!/usr/bin/env bash
# The recipe of m2diff-base and regress-base, both from random weights: bash run.sh DATA OUT. Run again, it goes on.
#
# DATA holds the anatomies (malf) and the head label maps (heads). The budget, each with its default in full:
#   PEOPLE=102   scans of the training people       PAINTED=80  scans of people painted from head label maps
#   HEADS=20     label maps that are painted        STEPS=16000 training steps of each network
#   JOBS=2       processes that paint and simulate
# In full, reckoned from earlier stages and not run yet: 80 minutes of one core to simulate, then an hour of an H100 for both
# networks one after the other, or some 130 hours of a CPU core each (30 s a step). A smaller budget is a whole recipe too:
# the learning rate falls to zero over STEPS.
# Nobody of the development people (1001, 1012, 1107, 1122, 1128) is trained on, and person 1036 is left to look at.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$(realpath "$1") out=$2
people=${PEOPLE:-102} painted=${PAINTED:-80} heads=${HEADS:-20} steps=${STEPS:-16000} jobs=${JOBS:-2}
licence="CC BY-NC 4.0 (non-commercial: trained on anatomies of OASIS-1 with Neuromorphometrics labels, CC BY-NC)"
about="$people simulated scans of 17 people of OASIS-1 (seed 401) and $painted of people painted from $heads whole-head label \
maps of Apache-2.0 (seed 403), DRF 2 to 100; credit OASIS and Neuromorphometrics"
mkdir -p "$out/heads" "$out/maps" # skulls of the first twelve maps, people painted from all of them
for n in $(seq -f %02g 1 "$((heads < 12 ? heads : 12))"); do ln -sfn "$data/heads/training_seg_$n.nii.gz" "$out/heads/"; done
for n in $(seq -f %02g 1 "$heads"); do ln -sfn "$data/heads/training_seg_$n.nii.gz" "$out/maps/"; done

if [ ! -d "$out/painted" ]; then
  python "$here/paint.py" "$out/maps" "$out/painted.part" --jobs "$jobs"
  mv "$out/painted.part" "$out/painted"
fi
cohort() { # name, scans, seed, anatomies, further options; its prepared scans go beside the others in $out/cohort
  m2diff simulate "$out/$1" --subjects "$2" --drf 2-100:4 --group both --seed "$3" --anatomies "$4" --randomise \
    --heads "$out/heads" --head mixed --jobs "$jobs" "${@:5}"
  python "$here/gather.py" "$out/$1" "$out/cohort" "$1" --jobs "$jobs"
}
cohort people "$people" 401 "$data/malf" --without 1001,1012,1107,1122,1128,1036
cohort painted-people "$painted" 403 "$out/painted"

for preset in m2diff-base regress-base; do
  m2diff train "$preset" --data "$out/cohort" --out "$out/$preset" --set train.steps="$steps" \
    --licence "$licence" --about "$about"
done
