# What stages 6 to 9 do alike, to be sourced. It needs $data and $out; `further` also $start, $levels, $seed and
# $fresh, and takes $shrinkage and $people.
#
# cohort NAME SUBJECTS SEED DRF [OPTIONS]: simulated, prepared, and put beside the others in $out/all under names of its own,
#     those whose name begins with an a in $out/first too. Heads are the first 12 maps of $data/heads and person 1036 is left
#     out, where OPTIONS do not say otherwise. In $jobs processes.
# further NAME COHORT STEPS COOLDOWN RATE: the run of that network from $start, on to step STEPS.
mkdir -p "$out/heads" "$out/first" "$out/all"
for n in {01..12}; do ln -sfn "$(realpath "$data")/heads/training_seg_$n.nii.gz" "$out/heads/"; done
jobs=${jobs:-16}
cohort() {
  local options=("${@:5}")
  [ $# -gt 4 ] || options=(--without 1001,1012,1107,1122,1128,1036 --heads "$out/heads" --head mixed)
  m2diff simulate "$out/$1" --subjects "$2" --drf "$4" --group both --seed "$3" --anatomies "${anatomies:-$data/malf}" \
    "${options[@]}" --randomise --jobs "$jobs"
  python -c 'import sys; from m2diff.data.cohort import prepare_cohort; prepare_cohort(*sys.argv[2:], jobs=int(sys.argv[1]))' \
    "$jobs" "$out/$1" "$out/$1/derivatives/m2diff-prepared"
  for scan in "$(realpath "$out/$1")"/derivatives/m2diff-prepared/sub-*; do
    ln -sfn "$scan" "$out/all/$(basename "$scan")$1"
    case $1 in a*) ln -sfn "$scan" "$out/first/$(basename "$scan")$1" ;; esac
  done
}
further() {
  m2diff train --from "$start/$1.safetensors" --data "$out/$2" --out "$out/$1" \
    --set data.held_out_fraction=0 --set data.batch=12 --set 'data.crop=[120,104]' --set data.target=expected \
    --set data.dose_power=0.5 --set data.augmentation.mri_shift=0.1 --set model.loss.levels="$levels" \
    --set model.loss.shrinkage="${shrinkage:-0}" \
    --set train.schedule=constant --set train.steps="$3" --set train.cooldown="$4" --set train.lr="$5" \
    --set train.warmup=60 --set train.ema_decay=0.996 --set train.validate_scans=0 --set train.seed="$seed" \
    --licence "CC BY-NC 4.0 (non-commercial: trained on anatomies of OASIS-1 with Neuromorphometrics labels, CC BY-NC)" \
    --about "trained on 160 simulated scans (m2diff simulate --randomise --head mixed, seed 21, DRF 4 to 100), 72 (seed 41, \
DRF 2 to 100), 48 (seed 91, DRF 2 to 100)$fresh, of ${people:-18 people of OASIS-1}; credit OASIS and Neuromorphometrics"
}
