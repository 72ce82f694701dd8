#!/bin/sh
# tests/cpu/COVERAGE.md names every row of the opcode list, with the reasons that the judge has now.
tool=${VITRINE_OUT:-out/release}/tests/cpu/test_judge
page=$(dirname "$0")/COVERAGE.md
rows() {
    # a row's reason, or that it is judged, and whether in sequences too
    sed -n 's/^| \([A-Z][A-Za-z0-9_]*\) |[^|]*| \(.*\) |$/\1 \2/p' "$1" | sed 's/ [0-9][^|]*| about [0-9]*/ judged/; s/| [0-9]*$/| too/'
}
new=$(mktemp) || exit 1
trap 'rm -f "$new" "$new.1" "$new.2"' EXIT
"$tool" --coverage >"$new" && rows "$new" >"$new.1" && rows "$page" >"$new.2"
if [ -s "$new.1" ] && diff "$new.2" "$new.1"; then
    echo "ok 1 - COVERAGE.md is fresh"
else
    echo "not ok 1 - COVERAGE.md is fresh: run '$tool --coverage >$page'"
    exit 1
fi
