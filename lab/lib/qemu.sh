# SPDX-License-Identifier: BSD-3-Clause
# QEMU 10.1 or newer, the first with vfio-user: the host's own, else trixie-backports' in a private root.
qemu_is_new_enough() {
  local program=$1
  command -v "$program" >/dev/null || return 1
  # Of this device alone: a list of all would load every module there is, those of another QEMU on the host included.
  [[ "$("$program" -device vfio-user-pci,help 2>/dev/null)" == "vfio-user-pci options"* ]]
}

# The private QEMU runs through the loader and the libraries it came with, so it needs neither chroot nor bind mounts,
# and sees the sockets and files of the host under their own names.
write_private_wrapper() {
  local root=$LAB_CACHE/qemu-root lib=$LAB_CACHE/qemu-root/usr/lib/x86_64-linux-gnu
  cat >"$LAB_CACHE/bin/qemu-system-x86_64.new" <<WRAPPER
#!/bin/sh
QEMU_MODULE_DIR=$lib/qemu
export QEMU_MODULE_DIR
exec $root/usr/lib64/ld-linux-x86-64.so.2 --argv0 qemu-system-x86_64 --library-path $lib \\
  $root/usr/bin/qemu-system-x86_64 -L $root/usr/share/qemu -L $root/usr/share/seabios -L $root/usr/lib/ipxe/qemu "\$@"
WRAPPER
  chmod +x "$LAB_CACHE/bin/qemu-system-x86_64.new"
  mv "$LAB_CACHE/bin/qemu-system-x86_64.new" "$LAB_CACHE/bin/qemu-system-x86_64"
}

build_qemu() {
  mkdir -p "$LAB_CACHE/bin"
  if qemu_is_new_enough qemu-system-x86_64; then
    ln -sf "$(command -v qemu-system-x86_64)" "$LAB_CACHE/bin/qemu-system-x86_64"
    say "QEMU: the host's own"
    return 0
  fi
  apt_unpack "$LAB_CACHE/qemu-root" qemu-system-x86 seabios ipxe-qemu
  write_private_wrapper
  qemu_is_new_enough "$LAB_CACHE/bin/qemu-system-x86_64" || fail "the QEMU that was fetched has no vfio-user-pci"
  say "QEMU: $("$LAB_CACHE/bin/qemu-system-x86_64" --version | head -n 1) (private root)"
}
