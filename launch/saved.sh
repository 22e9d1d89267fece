# shellcheck shell=bash disable=SC2154 # workdir is theirs
# Sourced by slurm.sbatch and tpu_common.sh, which set `workdir`: what a run has saved there, and whether it is finished.

# What the next start goes on from or need not do again. Not config.json, .lock and metrics.jsonl, which every start may
# write, nor a checkpoint that is not complete, whose folder has a longer name, nor a seed's eval.json, made every time.
kept='( (result|eval)|[ /]seed_[0-9]+/result|/DONE|/skipped|/choice_[^/]+)\.json$|/checkpoints/[0-9]+/.'

saved() { # a line for each such file: ... TIME PATH, the path from the workdir on
  if [[ $workdir == gs://* ]]; then
    gcloud storage ls --long "$workdir/**" 2>/dev/null | within=" $workdir/" awk '
      i = index($0, ENVIRON["within"]) { print substr($0, 1, i) substr($0, i + length(ENVIRON["within"])) }'
  else
    find -H "$workdir" -type f -printf '%T@ %P\n' 2>/dev/null
  fi | grep -E "$kept" | LC_ALL=C sort || true # there is no workdir yet
}

added() { LC_ALL=C comm -13 <(echo "$1") <(echo "$2"); } # BEFORE NOW: lines of `saved`

result_of() { # ARGUMENTS of the run: the file that it writes last
  local argument
  for argument in "$@"; do
    if [[ $argument =~ ^--?eval_only(=([Tt]rue|[Tt]|1))?$ ]]; then
      echo eval.json
      return
    fi
  done
  echo result.json
}

# Whether a run that ended with status 0 is finished. One that was preempted saves and ends so too, but writes no
# result: it has to be new, since an older one may be of fewer seeds. That of a single seed may be old: it is there only
# when all is done, and stays as it is.
finished() { # RESULT BEFORE NOW
  local pattern=" ${1/./\\.}\$"
  if grep -q "$pattern" <<<"$(added "$2" "$3")"; then
    return 0
  fi
  [[ $1 == result.json ]] && grep -q "$pattern" <<<"$3" && ! grep -q ' seed_[0-9]' <<<"$3"
}
