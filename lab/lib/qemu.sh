# SPDX-License-Identifier: BSD-3-Clause
# QEMU 10.1 or newer, the first with vfio-user: the host's own, else trixie-backports' in a private root. One for arm64 and U-Boot,
# which has drivers of its own, are always fetched: hardly anyone has them.
qemu_is_new_enough() {
  local program=$1
  command -v "$program" >/dev/null || return 1
  # Of this device alone: a list of all would load every module there is, those of another QEMU on the host included.
  [[ "$("$program" -device vfio-user-pci,help 2>/dev/null)" == "vfio-user-pci options"* ]]
}

# A private QEMU runs through the loader and the libraries it came with, so it needs neither chroot nor bind mounts,
# and sees the sockets and files of the host under their own names.
write_private_wrapper() {  # write_private_wrapper PROGRAM
  local program=$1 root=$LAB_CACHE/qemu-root lib=$LAB_CACHE/qemu-root/usr/lib/x86_64-linux-gnu
  cat >"$LAB_CACHE/bin/$program.new" <<WRAPPER
#!/bin/sh
QEMU_MODULE_DIR=$lib/qemu
export QEMU_MODULE_DIR
exec $root/usr/lib64/ld-linux-x86-64.so.2 --argv0 $program --library-path $lib \\
  $root/usr/bin/$program -L $root/usr/share/qemu -L $root/usr/share/seabios -L $root/usr/lib/ipxe/qemu "\$@"
WRAPPER
  chmod +x "$LAB_CACHE/bin/$program.new"
  mv "$LAB_CACHE/bin/$program.new" "$LAB_CACHE/bin/$program"
}

build_qemu() {
  local packages=(qemu-system-arm u-boot-qemu) private=(qemu-system-aarch64) program
  mkdir -p "$LAB_CACHE/bin"
  if qemu_is_new_enough qemu-system-x86_64; then
    ln -sf "$(command -v qemu-system-x86_64)" "$LAB_CACHE/bin/qemu-system-x86_64"
    say "QEMU: the host's own"
  else
    packages+=(qemu-system-x86 seabios ipxe-qemu)
    private+=(qemu-system-x86_64)
  fi
  apt_unpack "$LAB_CACHE/qemu-root" "${packages[@]}"
  cp "$LAB_CACHE/qemu-root/usr/lib/u-boot/qemu_arm64/u-boot.bin" "$LAB_CACHE/u-boot-arm64.bin"
  for program in "${private[@]}"; do
    write_private_wrapper "$program"
    qemu_is_new_enough "$LAB_CACHE/bin/$program" || fail "the $program that was fetched has no vfio-user-pci"
    say "QEMU: $("$LAB_CACHE/bin/$program" --version | head -n 1) (private root)"
  done
}
