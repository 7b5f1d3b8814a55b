#!/usr/bin/env bash
# Makes sure that what a build, the demo or the tests need is there: installs it where that is possible, and names it
# where it is not. Usage: scripts/prepare.sh build|lint|demo|image|image-here|node|test
set -euo pipefail

purpose=${1:?"usage: scripts/prepare.sh build|lint|demo|image|image-here|node|test"}
root=$(cd "$(dirname "$0")/.." && pwd)
tools=${XDG_CACHE_HOME:-$HOME/.cache}/roadstead/oracle/bin
missing=()

say() { printf 'prepare: %s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }

# Installs Debian packages, as root; says no otherwise.
install() {
    has apt-get && [ "$(id -u)" = 0 ] || return 1
    say "installing $*"
    export DEBIAN_FRONTEND=noninteractive
    local quietly=(-qq -o Dpkg::Use-Pty=0 -o Acquire::Retries=3)
    apt-get "${quietly[@]}" install -y --no-install-recommends "$@" >/dev/null 2>&1 ||
        { apt-get "${quietly[@]}" update >/dev/null && apt-get "${quietly[@]}" install -y --no-install-recommends "$@" >/dev/null; }
}

# A compiler without the C library's headers is a compiler that fails after minutes of build.
compiles_c() {
    has cc && printf '#include <stdlib.h>\nint main(void) { return 0; }\n' | cc -x c - -o /dev/null 2>/dev/null
}

# The client's version, without the v; nothing where there is no kubectl.
kubectl_version() {
    PATH=$tools:$PATH kubectl version --client -o json 2>/dev/null |
        sed -n 's/.*"gitVersion": *"v\([0-9]*\.[0-9]*\.[0-9]*\).*/\1/p' | head -n 1 || true
}

need() { # need COMMAND PACKAGE WHY
    has "$1" || install "$2" || missing+=("$1 (package $2): $3")
}

if ! has cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then
    say "cargo is not on PATH: put ~/.cargo/bin there"
    exit 1
fi
has cargo || missing+=("cargo: the Rust toolchain, https://rustup.rs")
compiles_c || install gcc libc6-dev || missing+=("cc (packages gcc, libc6-dev): SQLite, zstd and the cryptography are written in C")

case $purpose in
lint)
    for component in rustfmt clippy; do
        tool=cargo-${component/rustfmt/fmt}
        has "$tool" && "$tool" --version >/dev/null 2>&1 && continue
        { has rustup && say "adding $component" && rustup --quiet component add "$component"; } ||
            missing+=("$tool: rustup component add $component")
    done
    ;;
image | image-here)
    arch=$(uname -m)
    targets=("$arch-unknown-linux-musl")
    [ "$arch" != x86_64 ] || need musl-gcc musl-tools "the image holds one static program"
    if [ "$arch" != x86_64 ] || [ "$purpose" = image ]; then
        need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu "the program for arm64 is built here too"
        if [ ! -d /usr/include/aarch64-linux-musl ] && has dpkg && [ "$(id -u)" = 0 ]; then
            dpkg --add-architecture arm64 && install musl-dev:arm64 || missing+=("musl-dev:arm64: the program for arm64")
        fi
        targets=(x86_64-unknown-linux-musl aarch64-unknown-linux-musl)
    fi
    for target in "${targets[@]}"; do
        { has rustup && rustup --quiet target add "$target"; } || missing+=("rustup target add $target")
    done
    ;;
node)
    need git git "the test makes a Git repository"
    need containerd containerd "pods of the real node run in it"
    { has runc || has crun; } || need runc runc "it starts the containers of a real node"
    need ip iproute2 "a real node has a network of its own"
    need iptables iptables "a real node's Services are its rules"
    need conntrack conntrack "kube-proxy asks it"
    [ -x /usr/lib/cni/bridge ] || install containernetworking-plugins ||
        missing+=("package containernetworking-plugins: it gives the pods of a real node their network")
    ;;
demo)
    need git git "the demo makes a Git repository"
    PATH=$tools:$PATH has kubectl ||
        say "kubectl is not here: the demo does without, and its last hints will need it"
    ;;
test)
    need git git "the tests make Git repositories"
    # the transcripts hold this version's words, and others word some answers differently
    wanted=$(sed -n 's|^require k8s.io/kubernetes v\([0-9.]*\).*|\1|p' "$root/oracle/kubernetes/go.mod" | head -n 1)
    found=$(kubectl_version)
    if [ "${found%.*}" != "${wanted%.*}" ]; then
        say "the tests want kubectl ${wanted%.*}; here is ${found:-none}"
        if has go; then
            say "building it from its Go modules into $tools (some minutes, once)"
            (cd "$root" && cargo xtask oracle build kubectl) || say "that failed"
        else
            say "it can be built here when go is on PATH"
        fi
        [ -n "$(kubectl_version)" ] || say "the tests that hold us against kubectl say \"skipped\""
    fi
    [ -x "$tools/kube-apiserver" ] || say "the tests against a real API server say \"skipped\": make oracle builds one (6 minutes on 2 cores, once)"
    ;;
build) ;;
*)
    say "unknown purpose $purpose"
    exit 2
    ;;
esac

if [ ${#missing[@]} -gt 0 ]; then
    say "missing, and not for me to install:"
    printf '  %s\n' "${missing[@]}" >&2
    exit 1
fi
