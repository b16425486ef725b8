# SPDX-License-Identifier: BSD-3-Clause
# A kernel's headers, for modules that are built for guests: kernels/SERIES/headers/build is what /lib/modules/VERSION/build would be.

# Of other processors than ours, and of languages that we have no modules in.
HEADERS_LEAVE_OUT=(alpha arc arm arm64 csky hexagon loongarch m68k microblaze mips nios2 openrisc parisc powerpc riscv s390 sh sparc um xtensa)

# One package for the flavour, one for all flavours, one for the tools; 6.1 has the tools of the whole series in one.
packages_of_headers() {
  local version=$1
  echo "linux-headers-$version linux-headers-${version%-amd64}-common"
  if [[ -n $(lab_apt apt-cache pkgnames "linux-kbuild-${version%-amd64}") ]]; then
    echo "linux-kbuild-${version%-amd64}"
  else
    echo "linux-kbuild-${version%%.[0-9]*-*}.$(cut -d. -f2 <<<"$version")"
  fi
}

# unpack_headers DIRECTORY: from the packages in DIRECTORY/debs. They expect to lie in /usr; here nothing has to lie anywhere.
unpack_headers() {
  local directory=$1 package part excludes=('--exclude=*/usr/share/*' '--exclude=*/usr/lib/modules/*' '--exclude=*/linux-headers-*/vmlinux')
  for part in "${HEADERS_LEAVE_OUT[@]}"; do excludes+=("--exclude=*/arch/$part"); done
  for package in "$directory"/debs/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$directory" "${excludes[@]}"
  done
  sed -i 's|/usr/src/|$(CURDIR)/../|' "$directory"/usr/src/linux-headers-*-amd64/Makefile
  ln -s "$(cd "$directory" && echo usr/src/linux-headers-*-amd64)" "$directory/build"
}

# Debian 13's tools want Debian 13's libraries: those that the private QEMU came with.
make_tools_run() {
  local program root=$LAB_CACHE/qemu-root
  find "$1"/usr/lib/linux-kbuild-* -type f -executable | while read -r program; do
    [[ $(ldd "$program" 2>&1) == *GLIBC*"not found"* ]] || continue
    mv "$program" "$program.elf"
    cat >"$program" <<WRAPPER
#!/bin/sh
exec $root/usr/lib64/ld-linux-x86-64.so.2 --library-path $root/usr/lib/x86_64-linux-gnu "\$0.elf" "\$@"
WRAPPER
    chmod +x "$program"
  done
}

build_headers() {  # build_headers SERIES VERSION
  local directory=$LAB_CACHE/kernels/$1/headers package
  mkdir -p "$directory/debs"
  for package in $(packages_of_headers "$2"); do
    (cd "$directory/debs" && lab_apt apt-get download "$package" >../download.log 2>&1) ||
      { cat "$directory/download.log" >&2; fail "cannot download $package"; }
  done
  unpack_headers "$directory"
  make_tools_run "$directory"
  rm -rf "$directory/debs"
}
