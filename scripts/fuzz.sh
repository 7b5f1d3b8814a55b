#!/usr/bin/env bash
# fuzz.sh [TARGET…] runs each fuzz target for SECONDS_EACH (600), one after the other; without a name, all of them.
# The last line is the verdict. What is found lies in fuzz/artifacts/TARGET.
set -euo pipefail

cd "$(dirname "$0")/.."
each=${SECONDS_EACH:-600}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

command -v cargo-fuzz >/dev/null 2>&1 || cargo install --locked cargo-fuzz
cargo +nightly --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal

if [ $# -eq 0 ]; then
    mapfile -t targets < <(cargo +nightly fuzz list)
    set -- "${targets[@]}"
fi
failed=()
for target in "$@"; do
    printf '=== %s, %s s\n' "$target" "$each"
    if ! cargo +nightly fuzz run "$target" -- -max_total_time="$each" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 >"$log" 2>&1; then
        failed+=("$target")
        tail -n 30 "$log"
    fi
    grep -E '^stat::(number_of_executed_units|peak_rss_mb)' "$log" || true
done
if [ ${#failed[@]} -ne 0 ]; then
    printf 'fuzz: %d targets, findings in: %s\n' $# "${failed[*]}"
    exit 1
fi
printf 'fuzz: %d targets, %s s each, no finding\n' $# "$each"
