# SPDX-License-Identifier: BSD-3-Clause
# What a host VM (lab/run-host) starts from: the guests' userland, the modules that reach its root file system, and an
# init of its own. Everything else it takes from the test machine, so there is nothing large to make or to keep.
HOST_SERIES=6.1
HOST_MODULES=(virtio_pci virtio_console 9pnet_virtio 9p overlay)

build_host_initrd() {
  local directory=$LAB_CACHE/kernels/$HOST_SERIES version tree=$LAB_CACHE/host.tree module path
  version=$(<"$directory/version")
  rm -rf "$tree"
  mkdir -p "$tree/usr/lib/modules/$version"
  cp "$directory/lib/modules/$version"/modules.{order,builtin,builtin.modinfo} "$tree/usr/lib/modules/$version/"
  for module in "${HOST_MODULES[@]}"; do
    modprobe -d "$directory" -S "$version" --show-depends "$module" | awk '$1 == "insmod" { print $2 }'
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
  cp "$LAB_DIR/host/init" "$tree/host-init"
  cp "$LAB_DIR/host/start" "$tree/host-start"
  (cd "$tree" && find . -print0 | LC_ALL=C sort -z | cpio --quiet -0 -o -H newc -R 0:0) >"$LAB_CACHE/host.cpio"
  cat "$LAB_CACHE/userland.cpio" "$LAB_CACHE/host.cpio" >"$LAB_CACHE/host-initrd"
  rm -rf "$tree" "$LAB_CACHE/host.cpio"
}
