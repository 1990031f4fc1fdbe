# Sourced by the scripts beside it: functions that find or install Debian's compiler, which can
# build its standard library from source, and other packages of Debian. They are installed if the
# script runs as root and apt-get is there; otherwise it prints SKIPPED.

rustc=/usr/bin/rustc
cargo=/usr/bin/cargo

# skip REASON: prints it, and ends the script without a failure.
skip() {
    echo "SKIPPED: $1"
    echo "On Debian: apt-get install rustc-web cargo-web rust-web-src, and what is named above"
    exit 0
}

can_install() {
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]
}

install() {
    can_install || skip "$* must be installed"
    apt-get install --quiet --yes --no-install-recommends "$@" || skip "$* could not be installed"
}

# need FILE PACKAGE...: installs the packages if the file is missing.
need() {
    local file=$1
    shift
    [ -e "$file" ] || install "$@"
    [ -e "$file" ] || skip "$* did not bring $file"
}

# Succeeds if the compiler is that of `rustc-web`, with its sources, and new enough.
has_compiler() {
    local oldest
    oldest=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    [ -x $rustc ] && [ -x $cargo ] && [ -d "$($rustc --print sysroot)/lib/rustlib/src/rust/library" ] &&
        printf '%s\n' "$oldest" "$($rustc --version | cut -d ' ' -f 2)" | sort --version-sort --check=quiet
}

need_compiler() {
    has_compiler && return
    can_install || skip "$rustc is missing, has no sources, or is too old"
    apt-get update --quiet || true
    install rustc-web cargo-web rust-web-src
    has_compiler || skip "Debian's rustc-web is too old"
}

# Prints the version of the LLVM that the compiler was built with.
llvm_version() {
    $rustc --version --verbose | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p'
}

# cargo_variable TARGET NAME: prints the environment variable of this setting for a target.
cargo_variable() {
    echo "CARGO_TARGET_$(echo "$1" | tr 'a-z-' 'A-Z_')_$2"
}
