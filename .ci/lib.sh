# shellcheck shell=bash
# shellcheck disable=SC2034 # what is unused here is used where this is sourced
# Sourced by the scripts beside it: they stand in the root of the tree and have set -euo pipefail.

tools=$PWD/.tools          # what the scripts install; git-ignored, safe to delete
target=${CARGO_TARGET_DIR:-$PWD/target}
skipped=77                 # exit code of a suite that this machine cannot run
cargo_deny_version=0.20.2

in_ci() { [ "${CI:-}" = true ]; }

# CI takes the lock file as it is; at home cargo may bring it up to date.
locked=()
if in_ci; then locked=(--locked); fi

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# What the machine lacks and how to get it: loud, and the suite is skipped. In CI a skipped suite is a failed one.
lacks() {
  printf '\n*** SKIPPED: %s ***\n\n' "$*" >&2
  exit "$skipped"
}

have() { command -v "$1" >/dev/null 2>&1; }

# version_at_least WANTED FOUND
version_at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

rust_version_wanted() { sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml; }
