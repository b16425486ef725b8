/* SPDX-License-Identifier: BSD-3-Clause */
/* MSI: PCI Local Bus 3.0, 6.8.1. The form with 64-bit addresses and masks. */
#ifndef LIB_VFIO_USER_PCI_CAPS_MSI_H
#define LIB_VFIO_USER_PCI_CAPS_MSI_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VFIO_USER_PCI_CAP_MSI_SIZEOF (0x18)

/* Message control. */
struct mc {
  unsigned int msie : 1; /* enable: read and write */
  unsigned int mmc : 3;  /* vectors that the device has, as a power of two */
  unsigned int mme : 3;  /* vectors that are enabled, the same way: read and write */
  unsigned int c64 : 1;  /* 64-bit addresses */
  unsigned int pvm : 1;  /* masks per vector */
  unsigned int res1 : 7;
} __attribute__((packed));

/* Message address: its two lowest bits are zero. */
struct ma {
  unsigned int res1 : 2;
  unsigned int addr : 30;
} __attribute__((packed));

struct msicap {
  struct cap_hdr hdr;
  struct mc mc;
  struct ma ma;
  uint32_t mua; /* upper half of the address */
  uint16_t md;  /* data */
  uint16_t padding;
  uint32_t mmask; /* mask bits */
  uint32_t mpend; /* pending bits: read only */
} __attribute__((packed));

#ifdef __cplusplus
}
#endif

#endif
