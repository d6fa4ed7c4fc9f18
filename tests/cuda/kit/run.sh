#!/usr/bin/env bash
# Run on the CUDA machine, in the project's root, with .gpu/wheels as prepare.sh made it. No network is needed.
#   bash tests/cuda/kit/run.sh                  # every stage, the most valuable first, within BUDGET seconds (530)
#   bash tests/cuda/kit/run.sh live sdxl        # these stages only
#   DEVICE=cpu BUDGET=1500 SLOW=4 bash tests/cuda/kit/run.sh smoke baseline    # small, without a card
# Stages: smoke live baseline bench sdxl control compile cuda killed graph compiled upgraded sd15 builtin tests prepare tuned
# and, only when it is named: train (TRAIN_MINUTES=8 of training of the built-in model; BUDGET=600)
# Results are in $OUT (default .gpu/out), rewritten after every stage: summary.txt, figures.md, results.jsonl, logs.tar.gz.
set -u
[ -d lcm_daemon ] || { echo "run.sh: run it in the project's root"; exit 1; }
begun=$(date +%s)
end=$((begun + ${BUDGET:-530}))
out=${OUT:-$PWD/.gpu/out}
unset PYTHONDONTWRITEBYTECODE
export KIT_WORK=${KIT_WORK:-${TMPDIR:-/tmp}/lcm-cuda-kit} DEVICE=${DEVICE:-cuda} PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
export KIT_RESULTS=$KIT_WORK/results.jsonl
export LCM_DAEMON_CACHE=$KIT_WORK/cache LCM_DAEMON_STATE=$KIT_WORK/state
logs=$KIT_WORK/logs
mkdir -p "$out" "$logs" "$LCM_DAEMON_CACHE" "$LCM_DAEMON_STATE"
python=${PYTHON:-python3}

site=$KIT_WORK/site
if [ -z "${NO_INSTALL:-}" ] && [ ! -e "$site/done" ]; then
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --disable-pip-version-check --upgrade \
        --target "$site" .gpu/wheels/*.whl >"$logs/install.log" 2>&1 && touch "$site/done" || tail -5 "$logs/install.log"
    "$python" -m compileall -q -j 0 "$site" lcm_daemon >/dev/null 2>&1  # engines start again and again
fi
export PYTHONPATH=$PWD:$site${PYTHONPATH:+:$PYTHONPATH}

keep() {
    "$python" -m tests.cuda.kit.figures "$KIT_RESULTS" "$logs"/bench*.json >"$out/figures.md" 2>&1
    { "$python" -m tests.cuda.kit.summary "$KIT_RESULTS"; echo; cat "$out/figures.md"; } >"$out/summary.txt" 2>&1
    cp "$KIT_RESULTS" "$out/" 2>/dev/null
    tar -C "$KIT_WORK" -czf "$out/logs.tar.gz" --exclude=cache --exclude=site --exclude='model*' --exclude=state . 2>/dev/null
}

say() { printf '%4d s  %s\n' $(($(date +%s) - begun)) "$*"; }

# stage NAME SECONDS COMMAND...: limited to SECONDS and to the time left; after a failure the next stage runs.
stage() {
    local name=$1 limit=$(($2 * ${SLOW:-1})) left=$((end - $(date +%s))) code
    shift 2
    [ $left -ge 12 ] || { say "$name: skipped, no time left"; return; }
    [ $limit -le $left ] || limit=$left
    say "$name (at most $limit s)"
    KIT_STAGE=$name KIT_DEADLINE=$(($(date +%s) + limit - 4)) timeout -k 8 "$limit" "$@" >"$logs/$name.log" 2>&1
    code=$?
    [ $code -eq 0 ] || { say "$name ended with $code"; grep -E "Error|error:" "$logs/$name.log" | tail -3; }
    keep
}

bench() {  # NAME SECONDS RECIPE...: the project's own command, at full size
    local name=$1 limit=$2
    shift 2
    [ "$DEVICE" != cpu ] || { say "$name: skipped, no card"; return; }
    stage "$name" "$limit" "$python" -m lcm_daemon bench "$@" --json "$logs/$name.json"
}

wanted() { [ ${#chosen[@]} -eq 0 ] || printf '%s\n' "${chosen[@]}" | grep -qx "$1"; }
chosen=("$@")

[ "$DEVICE" = cpu ] || { nvidia-smi; nproc; "$python" -m pip list --disable-pip-version-check; } >"$logs/machine.txt" 2>&1 &
( cd "$PWD" && git rev-parse HEAD 2>/dev/null ) >"$logs/commit.txt"

module() { local name=$1 limit=$2; shift 2; stage "$name" "$limit" "$python" -m "$@"; }
kit=tests.cuda.kit

wanted smoke && module smoke 70 $kit.smoke
wanted live && module live 80 $kit.daemon recorded
wanted baseline && module baseline 75 $kit.baseline sd-turbo eager,default
wanted bench && bench bench 60 sd-turbo --random-weights --steps 1 --accelerate none --frames 60
wanted sdxl && module sdxl 50 $kit.pipeline sdxl-turbo auto --frames 100 --and-steps 2
wanted control && module control 45 $kit.control
# Compiling takes minutes and many cores. Tests run at the same time; nothing is timed then but an engine's return.
background=""
if wanted compile && [ $((end - $(date +%s))) -gt 60 ]; then
    say "compile (in the background, at most 200 s)"
    KIT_STAGE=compile KIT_DEADLINE=$(($(date +%s) + 196 * ${SLOW:-1})) timeout -k 8 $((200 * ${SLOW:-1})) "$python" -m \
        $kit.pipeline sd-turbo compile --lora --frames 20 >"$logs/compile.log" 2>&1 &
    background=$!
fi
if wanted cuda; then
    stage cuda 150 "$python" -m pytest -q -s -rs -p no:cacheprovider tests/cuda --ignore=tests/cuda/test_kit.py
    tail -25 "$logs/cuda.log"
fi
if [ -n "$background" ]; then
    wait "$background"
    say "compile ended with $?"
    keep
fi
wanted killed && module killed 90 $kit.daemon compiled
wanted bench && bench bench-compiled 100 sd-turbo --random-weights --steps 1 --accelerate compile --frames 60
wanted graph && module graph 60 $kit.pipeline sd-turbo auto --trace --moves
wanted compiled && module compiled 80 $kit.pipeline sd-turbo compile --lora --trace --moves
wanted upgraded && module upgraded 100 $kit.daemon upgraded
wanted sd15 && module sd15 40 $kit.pipeline sd15-lcm auto --steps 4 --frames 60 --moves
wanted sd15 && module stream 30 $kit.pipeline sd15-lcm auto --steps 4 --frames 60 --stream
wanted builtin && module builtin 40 $kit.pipeline builtin auto --steps 2 --moves
if wanted tests; then
    spread=""
    "$python" -c "import xdist" 2>/dev/null && spread="-n 6"
    # The part of the suite that renders on the best device of the machine, or checks recording with stand-ins.
    # shellcheck disable=SC2086
    stage tests 130 "$python" -m pytest -q --maxfail=30 -p no:cacheprovider $spread \
        ${TESTS:-tests/pipelines tests/render tests/commands/test_bench.py tests/daemon/test_live_change.py}
    tail -25 "$logs/tests.log"
fi
# Not among "every stage": it takes the whole time. The checkpoints come back in $OUT/builtin.
if [ ${#chosen[@]} -gt 0 ] && wanted train; then
    OUT=$out module train 580 $kit.train ${TRAIN_MINUTES:+--minutes "$TRAIN_MINUTES"}
fi
wanted prepare && module prepare 250 $kit.daemon prepare
wanted tuned && module tuned 200 $kit.baseline sd-turbo max-autotune-no-cudagraphs
keep
say "over"
cat "$out/summary.txt"
