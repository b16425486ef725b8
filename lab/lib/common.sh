# SPDX-License-Identifier: BSD-3-Clause
# Shared by lab/build and its parts; sourced, not run.
LAB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Everything the lab builds lives here; VMUX_LAB_CACHE lets several working trees share one.
LAB_CACHE=${VMUX_LAB_CACHE:-$LAB_DIR/../build/lab}
mkdir -p "$LAB_CACHE"
LAB_CACHE=$(cd "$LAB_CACHE" && pwd)

say() { echo "lab: $*"; }
fail() { echo "lab: $*" >&2; exit 1; }

# A part is as old as its recipe: key_of FILE... is the hash of the files that describe how it is made.
key_of() { (cd "$LAB_DIR" && sha256sum "$@" | sha256sum | cut -c 1-16); }
is_fresh() { [[ -f $LAB_CACHE/$1.stamp && $(<"$LAB_CACHE/$1.stamp") == "$2" ]]; }
mark_fresh() { echo "$2" >"$LAB_CACHE/$1.stamp"; }
