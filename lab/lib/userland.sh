# SPDX-License-Identifier: BSD-3-Clause
# The programs that guests have, in one archive for all kernels.
USERLAND_PACKAGES=(busybox-static dash iproute2 iputils-ping ethtool iperf3 tcpdump gpiod)
USERLAND_PROGRAMS=(dash ping ip bridge tc ethtool iperf3 tcpdump gpioget gpioset gpioinfo gpiodetect gpiomon)

# The ethtool of a kernel's own time, beside the newest: Linux 6.1 refuses what newer ones fill in for -X.
add_older_ethtool() {  # add_older_ethtool DIRECTORY FILE
  mkdir -p "$1"
  (cd "$1" && lab_apt apt-get download ethtool/bookworm >download.log 2>&1) || { cat "$1/download.log" >&2; fail "cannot download ethtool"; }
  dpkg-deb --fsys-tarfile "$1"/ethtool_*.deb | tar -x -O --wildcards '*sbin/ethtool' >"$2"
  chmod +x "$2"
  rm -rf "$1"
}

library_closure() {  # library_closure ROOT FILE...: the shared libraries these need, as paths in ROOT
  local root=$1
  shift
  local lib=$root/usr/lib/x86_64-linux-gnu
  "$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$lib" --list "$1" | grep -o "$lib/[^ ]*"
}

build_userland() {
  local root=$LAB_CACHE/userland-root tree=$LAB_CACHE/userland program path library
  apt_unpack "$root" "${USERLAND_PACKAGES[@]}"
  rm -rf "$tree"
  mkdir -p "$tree"/{bin,usr/lib/x86_64-linux-gnu,lib64,proc,sys,dev,tmp,run,etc,root,var/run}
  ln -s bin "$tree/sbin"
  cp "$root/usr/bin/busybox" "$tree/bin/busybox"
  for program in $("$tree/bin/busybox" --list | grep -vx busybox); do ln -sf busybox "$tree/bin/$program"; done
  for program in "${USERLAND_PROGRAMS[@]}"; do
    path=$(find "$root" -path "*bin/$program" -print -quit)
    [[ -n $path ]] || fail "no program $program among the packages of the guests"
    rm -f "$tree/bin/$program"
    cp -L "$path" "$tree/bin/$program"
    for library in $(library_closure "$root" "$path"); do
      cp -Lnu "$library" "$tree/usr/lib/x86_64-linux-gnu/"
    done
  done
  add_older_ethtool "$LAB_CACHE/ethtool-older" "$tree/bin/ethtool-6.1"
  # Opened at run time only, when a thread is cancelled.
  cp -L "$root/usr/lib/x86_64-linux-gnu/libgcc_s.so.1" "$tree/usr/lib/x86_64-linux-gnu/"
  # Debian's busybox shell prefers its own applets to programs of the same name, so the shell is dash.
  ln -sf dash "$tree/bin/sh"
  cp -L "$root/usr/lib64/ld-linux-x86-64.so.2" "$tree/lib64/"
  ln -s usr/lib "$tree/lib"
  printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'tcpdump:x:100:100::/:/bin/false' >"$tree/etc/passwd"
  echo 'root:x:0:' >"$tree/etc/group"
  (cd "$tree" && find . -print0 | LC_ALL=C sort -z | cpio --quiet -0 -o -H newc -R 0:0) >"$LAB_CACHE/userland.cpio"
  rm -rf "$root" "$tree"
  say "guest userland: $(du -m "$LAB_CACHE/userland.cpio" | cut -f 1) MB"
}
