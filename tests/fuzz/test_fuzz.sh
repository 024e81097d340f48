#!/bin/bash
# Run the fuzzers that tests/fuzz/fuzz.mk builds.
#
#   test_fuzz.sh [short [BUILD]]              20000 inputs each, seed 1: the same ones each time
#   test_fuzz.sh long BUILD SECONDS [NAME]    SECONDS each, going on from what was found before
#
# Prints ok or not ok for each tests/fuzz/fuzz_*.c; a fuzzer that was not built is a failure.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/../.."

mode=${1:-short}
build=${2:-${BUILD:-build}}
seconds=${3:-60}
only=${4:-}
passed=0
failed=0

# Limits: inputs above 64 KiB teach nothing new; one input must not take 10 s of the
# reference machine; 2 GiB is a leak.
common=(-max_len=65536 -timeout="$(tools/speed.py 10)" -rss_limit_mb=2048
        -print_final_stats=1 -verbosity=1)

run_one()
{
    local name=$1 program=$build/fuzz/fuzz_$1 log=$build/fuzz/$1.log
    local corpus=$build/fuzz/corpus/$1 folders=() seeds
    for seeds in "tests/fuzz/corpus/$1" "$build/fuzz/seeds/$1"; do
        [ ! -d "$seeds" ] || folders+=("$seeds")
    done
    if [ ! -x "$program" ]; then
        echo "not ok - fuzz $name: $program was not built"
        return 1
    fi
    local options=("${common[@]}" "-artifact_prefix=$build/fuzz/$name-")
    if [ "$mode" = short ]; then
        # A run depends on the tree alone: what it finds goes to an empty folder and is dropped.
        corpus=$(mktemp -d)
        options+=(-runs=20000 -seed=1)
    else
        mkdir -p "$corpus"
        options+=("-max_total_time=$seconds" "-seed=${FUZZ_SEED:-1}")
    fi
    # libFuzzer writes to the first folder only.
    folders=("$corpus" "${folders[@]}")
    local status=0
    "$program" "${options[@]}" "${folders[@]}" >"$log" 2>&1 || status=$?
    [ "$mode" = long ] || rm -rf "$corpus"
    if [ "$status" != 0 ]; then
        grep -aE 'ERROR|SUMMARY|Test unit written|runtime error' "$log" | head -n 8 |
            sed 's/^/# /'
        echo "not ok - fuzz $name: a finding, see $log"
        return 1
    fi
    awk -v name="$name" '/number_of_executed_units/ { n = $2 } / cov: / {
            for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
        END { printf "# fuzz %s: %d inputs, %d edges\n", name, n, cov }' "$log"
    echo "ok - fuzz $name"
}

for source in tests/fuzz/fuzz_*.c; do
    name=${source#tests/fuzz/fuzz_}
    name=${name%.c}
    [ -z "$only" ] || [ "$only" = "$name" ] || continue
    if run_one "$name"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
