#!/bin/bash
# Breaks each rule of core/write/order.h on purpose; the fault tests must then fail.
#
#   tests/fault/test_mutants.sh [NAME ...]
#
# tests/fault/mutants/NAME.sed is a change to one file of core/; its first line says which file, and
# which cases of which program must notice. `make san` builds the mutants (tests/fault/fault.mk).
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
passed=0
failed=0

judge() {
    local name=$1 program=$build/san/tests/fault/mutants/$1 parts log status
    log=$build/san/tests/fault/mutants/$name.log
    read -r -a parts < <(sed -n '1s/^# //p' "tests/fault/mutants/$name.sed")
    tools/speed.py 200 "$program" --stop "${parts[@]:2}" >"$log" 2>&1
    status=$?
    if [ $status -eq 1 ] && grep -q '^not ok - ' "$log"; then
        echo "ok - mutant_${name}_of_${parts[0]}_is_noticed"
        grep '^# ' "$log" | grep -v 'seed\|distinct' | head -1
        passed=$((passed + 1))
    else
        echo "not ok - mutant_${name}_of_${parts[0]}_is_noticed: exit status $status, see $log"
        failed=$((failed + 1))
    fi
}

names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    for script in tests/fault/mutants/*.sed; do
        names+=("$(basename "$script" .sed)")
    done
fi
for name in "${names[@]}"; do
    judge "$name"
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
