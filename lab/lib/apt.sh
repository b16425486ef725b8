# SPDX-License-Identifier: BSD-3-Clause
# A private apt: resolves and downloads packages of several Debian suites without touching the host's package state.
# Nothing is installed; packages are unpacked into directories of the lab.
APT_ROOT=$LAB_CACHE/apt
DEBIAN_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# The mirror the host itself uses for Debian 12, then Debian's own.
mirrors() {
  {
    apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
      awk '$1 == "bookworm" { sub("/$", "", $2); print $2 }'
    echo http://deb.debian.org/debian
  } | awk '!seen[$0]++'
}

lab_apt() {
  local program=$1
  shift
  APT_CONFIG=$APT_ROOT/apt.conf "$program" -q "$@"
}

apt_configure() {
  local mirror=$1 suite
  mkdir -p "$APT_ROOT"/{lists/partial,archives/partial,etc}
  : >"$APT_ROOT/status"
  cat >"$APT_ROOT/apt.conf" <<CONF
Dir::State "$APT_ROOT";
Dir::State::Lists "$APT_ROOT/lists";
Dir::State::status "$APT_ROOT/status";
Dir::Cache "$APT_ROOT";
Dir::Cache::Archives "$APT_ROOT/archives";
Dir::Etc::SourceList "$APT_ROOT/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
APT::Update::Post-Invoke-Success "";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
CONF
  for suite in bookworm bookworm-backports trixie trixie-backports; do
    echo "deb [signed-by=$DEBIAN_KEYRING] $mirror $suite main"
  done >"$APT_ROOT/sources.list"
}

apt_update() {
  local mirror
  for mirror in $(mirrors); do
    apt_configure "$mirror"
    if lab_apt apt-get update -o APT::Update::Error-Mode=any >"$APT_ROOT/update.log" 2>&1; then
      say "package lists from $mirror"
      return 0
    fi
  done
  cat "$APT_ROOT/update.log" >&2
  fail "cannot fetch the package lists of Debian 12 and 13 with backports (no network?)"
}

# apt_unpack DIRECTORY PACKAGE...: these packages and what they depend on, of trixie and its backports.
apt_unpack() {
  local directory=$1 archives=$1.debs
  shift
  rm -rf "$directory" "$archives"
  mkdir -p "$directory" "$archives/partial"
  lab_apt apt-get install -y --download-only -t trixie-backports -o Dir::Cache::Archives="$archives" "$@" \
    >"$directory.log" 2>&1 || { cat "$directory.log" >&2; fail "cannot download: $*"; }
  find "$archives" -name '*.deb' -print0 | xargs -0 -n 1 -P 2 sh -c 'dpkg-deb --extract "$1" "$0"' "$directory" ||
    fail "cannot unpack into $directory"
  rm -rf "$archives"
}
