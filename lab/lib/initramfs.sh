# SPDX-License-Identifier: BSD-3-Clause
# What a guest boots into: the userland's archive, and one of this kernel's modules and of our own programs. The kernel unpacks
# concatenated archives, so kernels/SERIES/initrd is simply both, one after the other.

# Modules that a test may load, each with what it depends on; not every series has every one. Nothing loads by itself but the
# drivers of what is on a bus.
GUEST_MODULES=(e1000 e1000e igb igbvf iavf ice virtio_net virtio_pci virtio_console virtio_blk 8021q bridge gpio-pci-idio-16
  sch_ingress sch_mqprio cls_u32 cls_flower cls_matchall act_tunnel_key af_packet tun sctp
  bonding dummy vxlan geneve ipip sit ip_gre ip6_gre ip6_tunnel uio_pci_generic)

# Modules go in uncompressed: expanding xz takes the host milliseconds and an emulated guest seconds.
expand_modules() {
  find "$1" -name '*.ko.xz' -print0 | xargs -0 -r xz -d
  find "$1" -name '*.ko.zst' -print0 | xargs -0 -r zstd -q -d --rm
}

add_own_programs() {  # add_own_programs TREE
  mkdir -p "$1/bin"
  cp "$LAB_DIR/guest/init" "$1/init"
  chmod +x "$1/init"
  cc -static -O2 -s -Wall -Wextra -o "$1/bin/guest-agent" "$LAB_DIR/guest/agent.c" || fail "cannot compile the guests' agent"
}

build_initrd() {
  local directory=$LAB_CACHE/kernels/$1 version tree=$LAB_CACHE/kernels/$1/modules.tree module path
  version=$(<"$directory/version")
  rm -rf "$tree"
  mkdir -p "$tree/usr/lib/modules/$version"
  cp "$directory/lib/modules/$version"/modules.{order,builtin,builtin.modinfo} "$tree/usr/lib/modules/$version/"
  for module in "${GUEST_MODULES[@]}"; do
    modprobe -d "$directory" -S "$version" --show-depends "$module" 2>/dev/null | awk '$1 == "insmod" { print $2 }'
  done | sort -u | while read -r path; do
    path=${path#"$directory"/}
    mkdir -p "$tree/usr/$(dirname "$path")"
    cp "$directory/$path" "$tree/usr/$path"
  done
  expand_modules "$tree"
  mkdir -p "$tree/lib" && ln -s ../usr/lib/modules "$tree/lib/modules"
  depmod -b "$tree" "$version" 2>/dev/null
  rm -rf "$tree/lib"
  add_own_programs "$tree"
  (cd "$tree" && find . -print0 | LC_ALL=C sort -z | cpio --quiet -0 -o -H newc -R 0:0) >"$directory/modules.cpio"
  cat "$LAB_CACHE/userland.cpio" "$directory/modules.cpio" >"$directory/initrd"
  rm -rf "$tree" "$directory/modules.cpio"
}
