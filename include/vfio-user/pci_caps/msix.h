/* SPDX-License-Identifier: BSD-3-Clause */
/* MSI-X: PCI Local Bus 3.0, 6.8.2. */
#ifndef LIB_VFIO_USER_PCI_CAPS_MSIX_H
#define LIB_VFIO_USER_PCI_CAPS_MSIX_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Message control. */
struct mxc {
  uint16_t ts : 11; /* size of the table, less one */
  uint16_t reserved : 3;
  uint16_t fm : 1;  /* mask of the function: read and write */
  uint16_t mxe : 1; /* enable: read and write */
} __attribute__((packed));

/* Where the table lies: a BAR, and 8-byte units into it. */
struct mtab {
  uint32_t tbir : 3;
  uint32_t to : 29;
} __attribute__((packed));

/* Where the pending bits lie. */
struct mpba {
  uint32_t pbir : 3;
  uint32_t pbao : 29;
} __attribute__((packed));

struct msixcap {
  struct cap_hdr hdr;
  struct mxc mxc;
  struct mtab mtab;
  struct mpba mpba;
} __attribute__((packed)) __attribute__((aligned(4)));

#ifdef __cplusplus
}
#endif

#endif
