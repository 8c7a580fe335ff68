# Functions for scripts that make a Debian in a folder. They need root, and a mirror of Debian in
# apt's sources. To be sourced by bash.

# The machine's own mirror, from the lists that apt-get update fetched.
debian_mirror() {
  # shellcheck disable=SC2016  # apt's own variable
  apt-get indextargets --format '$(REPO_URI)' \
    'Origin: Debian' 'Label: Debian' 'Component: main' 'Created-By: Packages' | sed -n 1p
}

make_debian() { # FOLDER PACKAGE,…: Debian 13 with these packages
  local from
  if ! command -v debootstrap >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends debootstrap
  fi
  from=$(debian_mirror)
  if [[ -z $from ]]; then
    apt-get update -qq
    from=$(debian_mirror)
  fi
  [[ -n $from ]] || { echo "apt's sources name no mirror of Debian" >&2 && return 2; }
  debootstrap --variant=minbase --include="$2" trixie "$1" "$from" >"$1.log" ||
    { cat "$1.log" >&2 && return 1; }
}

# How this machine reaches the network: names, certificates, the settings of apt and pip.
bring_settings() { # FOLDER
  local file place
  cp /etc/hosts /etc/resolv.conf "$1/etc/"
  apt-config dump | { grep -E '^Acquire::https?:' || true; } >"$1/etc/apt/apt.conf.d/90machine"
  for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt "${PIP_CERT:-}" "${SSL_CERT_FILE:-}"; do
    [[ ! -f $file ]] || install -D --mode=644 "$(readlink -f "$file")" "$1$file"
  done
  for file in ~/.pip/pip.conf ~/.config/pip/pip.conf "${PIP_CONFIG_FILE:-}"; do
    [[ ! -f $file ]] || install -D --mode=644 "$file" "$1/etc/xdg/pip/pip.conf"
  done
  for place in ${PIP_FIND_LINKS:-}; do
    [[ ! -d $place ]] || { mkdir -p "$1$place" && mount --bind "$place" "$1$place"; }
  done
}

# What git knows or would add, as it is in the current folder.
copy_checkout() { # FOLDER
  mkdir -p "$1"
  git ls-files -z --cached --others --exclude-standard |
    xargs -0 cp --no-dereference --preserve=mode --parents --target-directory="$1"
}
