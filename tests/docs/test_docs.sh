#!/bin/sh
# The generated map is fresh, and no document names a file that is not there.
cd "$(dirname "$0")/../.." || exit 1
echo 1..2
if sh docs/make-map.sh | cmp -s - docs/MAP.md; then
    echo 'ok 1 - docs/MAP.md is fresh'
else
    echo 'not ok 1 - docs/MAP.md is stale: run make map'
fi
missing=$(for page in README.md docs/*.md tests/README.md; do
    grep -o '](\([^)#:]*\))' "$page" | sed 's/^](//; s/)$//' | while read -r target; do
        [ -e "$(dirname "$page")/$target" ] || echo "$page: $target"
    done
done)
if [ -z "$missing" ]; then
    echo 'ok 2 - every link of the documents leads somewhere'
else
    echo "not ok 2 - links that lead nowhere: $missing"
fi
