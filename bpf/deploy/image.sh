#!/usr/bin/env bash
# image.sh FILE: the agent's image, made without docker and without a container registry, for
# `docker load`, `ctr images import` and `skopeo copy`. Needs root, and a mirror of Debian in apt's
# sources. ./run image calls it.
#
# The same checkout, Debian packages and processor make the same bytes. What is in it is listed in
# FILE.contents.json.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. bpf/deploy/debian.sh
readonly root=$PWD/build/image/root
# Every x86-64 processor since 2009, instead of the one that builds.
readonly processor=x86-64-v2
# Times in the image are that of the commit.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

outside() { # FILE
  rm -rf "$root"
  mkdir -p "$root"
  # What is mounted and started in there ends with it.
  unshare --mount --pid --fork --kill-child "$0" --inside
  python3 -I bpf/deploy/pack.py "$root" "$1" --tag "kubeverdict-agent:$(version)"
  rm -rf "$root"
}

version() {
  python3 -I -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])'
}

in_image() {
  env --ignore-environment HOME=/root PATH=/opt/kubeverdict/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_CERT="${PIP_CERT:-}" \
    XDG_CACHE_HOME=/var/cache NUMBA_CPU_NAME=$processor \
    chroot "$root" "$@"
}

install_kubeverdict() {
  local constraints=/src/constraints/python3.13.txt build
  in_image python3 -m venv /opt/kubeverdict
  mapfile -t build < <(in_image python3 -c 'import tomllib
print(*tomllib.load(open("/src/pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")')
  in_image pip install --quiet --no-cache-dir --constraint $constraints "${build[@]}"
  in_image pip install --quiet --no-cache-dir --constraint $constraints --no-build-isolation \
    "/src[agent]"
  # What only builds is not for a node.
  in_image pip uninstall --quiet --yes "${build[@]}"
}

list_contents() {
  in_image python3 - <<'PYTHON'
import json, subprocess, sys

def debian():
    wanted = "${Package}\t${Version}\n"
    listed = subprocess.run(["dpkg-query", "--show", f"--showformat={wanted}"],
                            capture_output=True, text=True, check=True).stdout
    return [line.split("\t") for line in listed.splitlines()]

def python():
    listed = subprocess.run(["/opt/kubeverdict/bin/pip", "list", "--format=json"],
                            capture_output=True, text=True, check=True).stdout
    return [(one["name"], one["version"]) for one in json.loads(listed) if one["name"] != "pip"]

parts = [(name, version, f"pkg:deb/debian/{name}@{version}?distro=trixie") for name, version in debian()]
parts += [(name, version, f"pkg:pypi/{name.lower()}@{version}") for name, version in python()]
components = [{"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}
              for name, version, purl in sorted(parts)]
bill = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components}
with open("/usr/share/kubeverdict-contents.json", "w") as file:
    json.dump(bill, file, indent=1)
    file.write("\n")
PYTHON
}

# Nothing of the machine that builds, and nothing that only people or package managers need.
clean() {
  in_image pip uninstall --quiet --yes pip
  rm -rf "$root/src" "$root"/etc/{resolv.conf,hosts,hostname,machine-id,pip.conf,xdg/pip} \
    "$root/etc/apt/apt.conf.d/90machine" "$root"/var/{lib/apt/lists,cache/apt,cache/debconf,log}/* \
    "$root/var/cache/ldconfig/aux-cache" "$root"/var/lib/dpkg/*-old "$root"/{tmp,root,run}/* \
    "$root"/usr/share/{doc,man,info,locale,lintian}/* "$root"/usr/lib/python3*/{ensurepip,test} \
    "$root/root/.cache"
  in_image python3 -m compileall -q --invalidation-mode unchecked-hash /opt/kubeverdict/lib \
    /usr/lib/python3 /usr/lib/python3.13 >/dev/null || true
}

inside() {
  make_debian "$root" python3,python3-venv,python3-bpfcc
  bring_settings "$root"
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  copy_checkout "$root/src"
  install_kubeverdict
  list_contents
  # numba writes addresses of its objects into what it compiles: they have to be the same ones.
  in_image setarch --addr-no-randomize kubeverdict warmup
  clean
}

if [[ ${1:-} == --inside ]]; then inside; else outside "${1:?FILE}"; fi
