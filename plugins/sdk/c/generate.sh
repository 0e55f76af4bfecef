#!/usr/bin/env bash
# Writes placement/, aggregation/ and release/ anew from ../../wit, with shorter names than the generator's. Needed when the contract changes:
#
#   cargo install wit-bindgen-cli --version 0.61.1 --locked --no-default-features --features c
#   plugins/sdk/c/generate.sh
set -euo pipefail
cd "$(dirname "$0")"
for world in placement aggregation release; do
  wit-bindgen c ../../wit --world "$world" --rename-world polder --out-dir "$world"
  sed -i -E -e 's/exports_polder_policy_(placer|aggregator|releaser)_/polder_/g' \
    -e 's/EXPORTS_POLDER_POLICY_(PLACER|AGGREGATOR|RELEASER)_/POLDER_/g' \
    -e 's/polder_policy_types_/polder_types_/g; s/POLDER_POLICY_TYPES_/POLDER_/g' \
    "$world/polder.h" "$world/polder.c"
done
