/* SPDX-License-Identifier: BSD-3-Clause */
/* What all capabilities start with, and those of vendors. */
#ifndef LIB_VFIO_USER_PCI_CAPS_COMMON_H
#define LIB_VFIO_USER_PCI_CAPS_COMMON_H

#include <linux/pci_regs.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* PCI Local Bus 3.0, 6.7. */
struct cap_hdr {
  uint8_t id;
  uint8_t next;
} __attribute__((packed));

/* Vendor-specific capability: `size` is that of all of it. */
struct vsc {
  struct cap_hdr hdr;
  uint8_t size;
  uint8_t data[];
} __attribute__((packed));

/* PCI Express Base, 7.9.3: extended capability header. */
struct pcie_ext_cap_hdr {
  uint32_t id : 16;
  uint32_t version : 4;
  uint32_t next : 12;
} __attribute__((packed));

/* Vendor-specific extended capability: `len` is that of all of it. */
struct pcie_ext_cap_vsc_hdr {
  struct pcie_ext_cap_hdr hdr;
  uint32_t id : 16;
  uint32_t rev : 4;
  uint32_t len : 12;
  uint8_t data[];
} __attribute__((packed));

#ifdef __cplusplus
}
#endif

#endif
