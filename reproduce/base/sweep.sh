#!/usr/bin/env bash
# What settings that no table had measured buy the small network, one at a time: bash sweep.sh DATA OUT. Run again, it goes on.
#
# 64 scans of 18 training people at DRF 20 and 100, random scanners; 300 steps of 4 slabs, three seeds, one CPU thread: about
# 2.5 minutes a run on a quiet machine. Scored on one scan of each development person.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$1 out=$2
export OMP_NUM_THREADS=1
mkdir -p "$out/runs"
m2diff simulate "$out/random" --subjects 64 --drf 20,100 --group both --seed 901 --anatomies "$data/malf" \
  --without 1001,1012,1107,1122,1128 --head grown --randomise
m2diff simulate "$out/test" --subjects 5 --drf 20,100 --group both --seed 77 --anatomies "$data/malf" \
  --persons 1001,1012,1107,1122,1128 --head grown
one() { # name, seed, then overrides
  local name=$1 seed=$2 sets=()
  shift 2
  for override in "$@"; do sets+=(--set "$override"); done
  m2diff train m2diff-small --data "$out/random" --out "$out/runs/$name-$seed" --device cpu --set train.threads=1 \
    --set train.validate_scans=0 --set train.steps=300 --set train.seed="$seed" "${sets[@]}" --quiet
}
for seed in 1 2 3; do
  one whole "$seed"
  one levels "$seed" model.loss.levels=5
  one uniform-steps "$seed" model.diffusion.first_step_share=0
  one no-wiener "$seed" model.network.input_scaling=none
  # one dose-power "$seed" data.dose_power=0.5      (an option of commit 4ca726d, gone since: -0.33 and +0.03 dB)
  one expected "$seed" data.target=expected
done
python "$here/sweep.py" "$out/runs" "$out/test" > "$here/results/sweep.md"
