#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# In a guest: has the educational device compute, copy memory and interrupt, with nothing but a shell, busybox's devmem
# and Linux's uio_pci_generic. Prints a line for each step; the exit status is 0 if all of it was right.
#
# Usage: edu-guest.sh MEMORY     MEMORY: the physical address of 8 KiB that the kernel leaves alone (memmap=64K$0x8000000)
set -eu
memory=$1
card=$(dirname "$(grep -l 0x11e8 /sys/bus/pci/devices/*/device | head -n 1)")
bar=$(awk 'NR == 1 { print $1 }' "$card/resource")
buffer=$((0x40000))

register() { devmem $((bar + $1)) 32 ${2:+"$2"}; } # register OFFSET [VALUE]
wide() { devmem $((bar + $1)) 64 "$2"; }
expect() { # expect WHAT GOT WANTED
  [ $(($2)) -eq $(($3)) ] || { echo "$1: $2 instead of $3"; exit 1; }
  echo "$1: $2"
}
wait_for_interrupt() { dd bs=4 count=1 <&3 >/dev/null 2>&1; }
transfer() { # transfer SOURCE DESTINATION COUNT COMMAND
  wide 0x80 "$1"
  wide 0x88 "$2"
  wide 0x90 "$3"
  wide 0x98 "$4"
}

modprobe uio_pci_generic
echo 1 >"$card/enable"
echo 1234 11e8 >/sys/bus/pci/drivers/uio_pci_generic/new_id 2>/dev/null || true # it may know it already
# Memory space, bus master; the driver turns INTx off at each interrupt, and it is to be turned on again.
command() { printf '\006\000' | dd of="$card/config" bs=2 seek=2 conv=notrunc 2>/dev/null; }
command

exec 3<"/dev/$(ls "$card/uio")" # only interrupts after this are seen

expect identification "$(register 0)" 0x010000ed
register 0x04 0x0000ffff
expect liveness "$(register 0x04)" 0xffff0000
register 0x08 7
expect "factorial of 7" "$(register 0x08)" 5040

devmem "$memory" 32 0xfeedface
transfer "$memory" $buffer 4 1
transfer $buffer $((memory + 4096)) 4 7 # back to memory, and interrupt
expect "copied twice" "$(devmem $((memory + 4096)) 32)" 0xfeedface
wait_for_interrupt
expect "interrupt status" "$(register 0x24)" 0x100
register 0x64 0x100
expect "acknowledged" "$(register 0x24)" 0
command
register 0x60 1 # by hand
wait_for_interrupt
expect "interrupt status" "$(register 0x24)" 1
register 0x64 1
echo "edu: all is right"
