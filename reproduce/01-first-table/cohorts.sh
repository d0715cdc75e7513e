# The fresh cohorts of stages 6 and 7, to be sourced; it needs $data and $out.
#
# cohort NAME SUBJECTS SEED DRF: simulated, prepared, and put beside the others in $out/all under names of its own, those
# whose name begins with an a in $out/first too. Heads are the first 12 maps of $data/heads.
mkdir -p "$out/heads" "$out/first" "$out/all"
for n in {01..12}; do ln -sfn "$(realpath "$data")/heads/training_seg_$n.nii.gz" "$out/heads/"; done
cohort() {
  m2diff simulate "$out/$1" --subjects "$2" --drf "$4" --group both --seed "$3" --anatomies "$data/malf" \
    --without 1001,1012,1107,1122,1128,1036 --heads "$out/heads" --head mixed --randomise --jobs 16
  python -c 'import sys; from m2diff.data.cohort import prepare_cohort; prepare_cohort(*sys.argv[1:], jobs=16)' \
    "$out/$1" "$out/$1/derivatives/m2diff-prepared"
  for scan in "$(realpath "$out/$1")"/derivatives/m2diff-prepared/sub-*; do
    ln -sfn "$scan" "$out/all/$(basename "$scan")$1"
    case $1 in a*) ln -sfn "$scan" "$out/first/$(basename "$scan")$1" ;; esac
  done
}
