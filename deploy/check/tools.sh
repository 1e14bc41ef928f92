#!/usr/bin/env bash
# What `make k8s-check` needs and no machine has: a control plane built from Go modules, checkers, Debian packages.
# tools.sh CACHE_DIR [TOOL…]    Without names: everything. What is there already is left alone.
set -euo pipefail
CACHE=$(mkdir -p "$1/bin" && cd "$1" && pwd)
shift
BIN=$CACHE/bin
# Each tool is one line of ALL: name, then what it takes on two cores from nothing.
ALL="kubectl kube-apiserver kube-controller-manager kube-scheduler kwok docker-compose etcd promtool buildah rootfs"
WANTED=${*:-$ALL}
K8S=1.37.2 KWOK=0.8.0 COMPOSE=5.5.1
export GOFLAGS=-buildvcs=false CGO_ENABLED=0

missing() { [[ " $WANTED " == *" $1 "* ]] && [ ! -x "$BIN/$1" ]; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

kubernetes() { # the module's own replaces point into its tree: rewritten to the published versions
    mkdir -p "$work/k8s" && cd "$work/k8s"
    local mod flags part
    mod=$(go mod download -json "k8s.io/kubernetes@v$K8S" | sed -n 's/.*"GoMod": "\(.*\)",/\1/p')
    {
        printf 'module local/k8s\n\ngo 1.26.0\n\ntool (\n'
        printf '\tk8s.io/kubernetes/cmd/%s\n' kube-apiserver kube-controller-manager kube-scheduler kubectl
        printf ')\n\nrequire k8s.io/kubernetes v%s\n\nreplace (\n' "$K8S"
        sed -nE "s#^[[:space:]]*(k8s.io/[a-z-]+) => ./staging.*#\t\1 => \1 v0.${K8S#1.}#p" "$mod"
        echo ')'
    } >go.mod
    nice -n 10 go mod tidy
    flags="-s -w -X k8s.io/component-base/version.gitVersion=v$K8S"
    flags+=" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37"
    for part in kubectl kube-apiserver kube-controller-manager kube-scheduler; do
        if missing "$part"; then
            nice -n 10 go build -trimpath -ldflags "$flags" -o "$work/$part" "k8s.io/kubernetes/cmd/$part"
            mv "$work/$part" "$BIN/"
        fi
    done
}

if missing kubectl || missing kube-apiserver || missing kube-controller-manager || missing kube-scheduler; then
    command -v go >/dev/null && kubernetes
fi
if missing kwok && command -v go >/dev/null; then
    GOBIN=$BIN nice -n 10 go install "sigs.k8s.io/kwok/cmd/kwok@v$KWOK"
fi
if [ -x "$BIN/kwok" ] && [ ! -s "$BIN/kwok-stages.yaml" ]; then # how a fake node and a fake pod behave
    stages=$(go mod download -json "sigs.k8s.io/kwok@v$KWOK" | sed -n 's/.*"Dir": "\(.*\)",/\1/p')/kustomize/stage
    for stage in node/fast/node-initialize node/heartbeat-with-lease/node-heartbeat-with-lease \
        pod/fast/pod-ready pod/fast/pod-complete pod/fast/pod-delete; do
        cat "$stages/$stage.yaml"
        printf '\n---\n'
    done >"$BIN/kwok-stages.yaml"
fi
if missing docker-compose && command -v go >/dev/null; then # `go install` refuses it: its go.mod excludes
    mkdir -p "$work/compose" && cd "$work/compose"
    printf 'module local/compose\n\ngo 1.26.0\n\ntool github.com/docker/compose/v5/cmd\n\nrequire github.com/docker/compose/v5 v%s\n' "$COMPOSE" >go.mod
    nice -n 10 go mod tidy
    nice -n 10 go build -trimpath -ldflags '-s -w' -o "$work/docker-compose" github.com/docker/compose/v5/cmd
    mv "$work/docker-compose" "$BIN/"
fi
packages=()
[[ " $WANTED " == *" etcd "* ]] && ! command -v etcd >/dev/null && packages+=(etcd-server)
[[ " $WANTED " == *" promtool "* ]] && ! command -v promtool >/dev/null && packages+=(prometheus)
[[ " $WANTED " =~ \ (buildah|rootfs)\  ]] && ! { command -v buildah && command -v debootstrap; } >/dev/null && packages+=(buildah debootstrap)
if [ ${#packages[@]} -gt 0 ] && command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    # A package must not start its service here.
    [ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; rc=1; }
    apt-get install -y -q --no-install-recommends "${packages[@]}" ||
        { apt-get update -q && apt-get install -y -q --no-install-recommends "${packages[@]}"; }
    [ -z "${rc:-}" ] || rm -f /usr/sbin/policy-rc.d
fi
# A base for our image: no registry has images here.
if [[ " $WANTED " == *" rootfs "* ]] && [ ! -d "$CACHE/rootfs" ] && command -v debootstrap >/dev/null && [ "$(id -u)" -eq 0 ]; then
    rm -rf "$CACHE/rootfs.part"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$CACHE/rootfs.part" &&
        mv "$CACHE/rootfs.part" "$CACHE/rootfs"
fi
