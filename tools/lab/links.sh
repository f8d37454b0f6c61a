#!/usr/bin/env bash
# The import package as a tree of links, build/src/nextframe: for mypy, and for a Python in which nothing can be installed.
# Run at the root of the checkout.
mkdir -p build/src/nextframe
for folder in runtime controllers worlds model tools; do
    ln -sfn "../../../$folder" "build/src/nextframe/$folder"
done
for module in runtime/public/*.py; do
    ln -sfn "../../../$module" "build/src/nextframe/$(basename "$module")"
done
