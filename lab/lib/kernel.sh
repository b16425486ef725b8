# SPDX-License-Identifier: BSD-3-Clause
# A Debian kernel of a series ("6.1"), unpacked: kernels/SERIES/vmlinux (and vmlinuz), /version, /lib/modules and /headers; never installed.

# What guests never need. The rest (all network cards, VFIO, virtio, IOMMU, GPIO, 9p) stays.
KERNEL_LEAVES_OUT=(gpu media infiniband iio staging usb hwmon hid input scsi ata isdn comedi mtd md leds platform
  power thermal video ras accel nvme target firewire thunderbolt bluetooth mmc memstick soundwire bcma ssb)

# 6.1 is Debian 12's, 6.12 that of its backports, everything newer that of Debian 13's backports.
newest_of_series() {
  local suffix
  case $1 in
    6.1) suffix='-[0-9]+' ;;
    6.12) suffix='\+deb12[.0-9]*' ;;
    *) suffix='\+deb13[.0-9]*' ;;
  esac
  lab_apt apt-cache pkgnames "linux-image-$1." | grep -E "^linux-image-${1//./\\.}\.[0-9.]+$suffix-amd64\$" | sort -V | tail -n 1
}

# Newer kernels come in several packages, older in one.
packages_of_image() {
  local version=${1#linux-image-}
  if [[ -n $(lab_apt apt-cache pkgnames "linux-modules-$version") ]]; then
    echo "linux-base-$version linux-binary-$version linux-modules-$version"
  else
    echo "$1"
  fi
}

unpack_kernel_package() {
  local package=$1 directory=$2 excludes=() part
  for part in "${KERNEL_LEAVES_OUT[@]}"; do excludes+=("--exclude=*/kernel/drivers/$part/*"); done
  excludes+=('--exclude=*/kernel/sound/*' '--exclude=*/kernel/drivers/net/wireless/*' '--exclude=*/kernel/net/mac80211/*'
    '--exclude=*/usr/share/doc/*')
  dpkg-deb --fsys-tarfile "$package" | tar -x -C "$directory" "${excludes[@]}"
}

build_kernel() {
  local series=$1 directory=$LAB_CACHE/kernels/$1 image version package
  image=$(newest_of_series "$series")
  [[ -n $image ]] || fail "no Linux $series among the packages of Debian 12, 13 and their backports"
  version=${image#linux-image-}
  rm -rf "$directory"
  mkdir -p "$directory/debs"
  for package in $(packages_of_image "$image"); do
    (cd "$directory/debs" && lab_apt apt-get download "$package" >../download.log 2>&1) ||
      { cat "$directory/download.log" >&2; fail "cannot download $package"; }
  done
  for package in "$directory"/debs/*.deb; do unpack_kernel_package "$package" "$directory"; done
  rm -rf "$directory/debs"
  if [[ -d $directory/usr/lib/modules ]]; then
    mkdir -p "$directory/lib/modules"
    cp -al "$directory/usr/lib/modules/." "$directory/lib/modules/"
    rm -rf "$directory/usr"
  fi
  version=$(basename "$directory"/lib/modules/*)
  mv "$(find "$directory" -name 'vmlinuz*' -type f | head -n 1)" "$directory/vmlinuz"
  rm -rf "$directory/boot" "$directory/usr"
  "$LAB_DIR/lib/extract-vmlinux" "$directory/vmlinuz" "$directory/vmlinux"
  depmod -b "$directory" "$version" 2>/dev/null
  echo "$version" >"$directory/version"
  build_headers "$series" "${image#linux-image-}"
  say "kernel $series: $version"
}
