#!/usr/bin/env bash
# Fetches a real source tree, Django's with what its tests import, once, and prints where it is. Tests work on copies of it.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

version=5.2.8
cache=${XDG_CACHE_HOME:-$HOME/.cache}/fastable/real-project-$version

if [ ! -d "$cache/tree" ]; then
    step "Fetching Django $version and what its tests need from PyPI" >&2
    [ -x "$repository/.venv/bin/pip" ] || "$repository/scripts/setup-python.sh" >&2
    rm -rf "$cache.partial"
    mkdir -p "$cache.partial/tree/vendor"
    retry "$repository/.venv/bin/pip" download --quiet --no-deps --no-binary django --dest "$cache.partial" \
        "django==$version" >&2 || fail "PyPI could not be reached"
    tar -xzf "$cache.partial"/[dD]jango-*.tar.gz -C "$cache.partial/tree" --strip-components=1
    # The container has no way out here, so the two libraries that the tests import travel with the tree.
    retry "$repository/.venv/bin/pip" install --quiet --upgrade --target "$cache.partial/tree/vendor" asgiref sqlparse >&2
    mv "$cache.partial" "$cache"
fi
echo "$cache/tree"
