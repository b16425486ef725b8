/* SPDX-License-Identifier: BSD-3-Clause */
/* PCI Express: PCI Express Base, 7.8. */
#ifndef LIB_VFIO_USER_PCI_CAPS_PX_H
#define LIB_VFIO_USER_PCI_CAPS_PX_H

#include "common.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All registers of version 2, those of slots and roots too. */
#define VFIO_USER_PCI_CAP_EXP_SIZEOF (0x3c)

/* Capabilities. */
struct pxcaps {
  uint16_t ver : 4;
  uint16_t dpt : 4; /* device or port type */
  uint16_t si : 1;  /* slot implemented */
  uint16_t imn : 5; /* interrupt message number */
  uint16_t res1 : 2;
} __attribute__((packed));

/* Device capabilities. */
struct pxdcap {
  uint32_t mps : 3;
  uint32_t pfs : 2;
  uint32_t etfs : 1;
  uint32_t l0sl : 3;
  uint32_t l1l : 3;
  uint32_t res1 : 3;
  uint32_t rer : 1;
  uint32_t res2 : 2;
  uint32_t csplv : 8;
  uint32_t cspls : 2;
  uint32_t flrc : 1; /* it has function level reset */
  uint32_t res3 : 3;
} __attribute__((packed));

/* Device control. */
union pxdc {
  uint16_t raw;
  struct {
    uint16_t cere : 1;
    uint16_t nfere : 1;
    uint16_t fere : 1;
    uint16_t urre : 1;
    uint16_t ero : 1;
    uint16_t mps : 3;
    uint16_t ete : 1;
    uint16_t pfe : 1;
    uint16_t appme : 1;
    uint16_t ens : 1;
    uint16_t mrrs : 3;
    uint16_t iflr : 1; /* a function level reset is asked for */
  } __attribute__((packed));
} __attribute__((packed));

struct pxds {
  uint16_t stuff : 16;
} __attribute__((packed));

struct pxlcap {
  uint32_t stuff : 32;
} __attribute__((packed));

/* Link control. */
union pxlc {
  uint16_t raw;
  struct {
    uint16_t aspmc : 2;
    uint16_t rsvdp1 : 1;
    uint16_t rcb : 1;
    uint16_t ld : 1;
    uint16_t rl : 1;
    uint16_t ccc : 1;
    uint16_t es : 1;
    uint16_t clkreq_en : 1;
    uint16_t hawd : 1;
    uint16_t lbmie : 1;
    uint16_t labie : 1;
    uint16_t rsvdp2 : 4;
  };
} __attribute__((packed));

struct pxls {
  uint16_t stuff : 16;
} __attribute__((packed));

struct pxscap {
  uint32_t stuff : 32;
} __attribute__((packed));

struct pxsc {
  uint16_t stuff : 16;
} __attribute__((packed));

struct pxss {
  uint16_t stuff : 16;
} __attribute__((packed));

struct pxrc {
  uint16_t stuff : 16;
} __attribute__((packed));

struct pxrcap {
  uint16_t stuff : 16;
} __attribute__((packed));

struct pxrs {
  uint32_t stuff : 32;
} __attribute__((packed));

/* Device capabilities 2: the fields of several versions of the specification. */
struct pxdcap2 {
  uint32_t ctrs : 4;
  uint32_t ctds : 1;
  uint32_t arifs : 1;
  uint32_t aors : 1;
  uint32_t aocs32 : 1;
  uint32_t aocs64 : 1;
  uint32_t ccs128 : 1;
  uint32_t nprpr : 1;
  uint32_t ltrs : 1;
  uint32_t tphcs : 2;
  uint32_t ln : 2;
  uint32_t tcs : 1;
  uint32_t trs : 1;
  uint32_t obffs : 2;
  uint32_t effs : 1;
  uint32_t eetps : 1;
  uint32_t meetp : 2;
  uint32_t eprs : 2;
  uint32_t eprir : 1;
  uint32_t res1 : 1;
  uint32_t dmwcs : 1;
  uint32_t dmwls : 2;
  uint32_t frss : 1;
} __attribute__((packed));

/* Device control 2. */
union pxdc2 {
  uint16_t raw;
  struct {
    uint32_t comp_timeout : 4;
    uint32_t comp_timout_dis : 1;
    uint32_t ari : 1;
    uint32_t atomic_req : 1;
    uint32_t atomic_egress_block : 1;
    uint32_t ido_req_en : 1;
    uint32_t ido_cmp_en : 1;
    uint32_t ltr_en : 1;
    uint32_t obff_en : 2;
    uint32_t end_end_tlp_prefix_block : 1;
  } __attribute__((packed));
} __attribute__((packed));

struct pxds2 {
  uint16_t stuff : 16;
} __attribute__((packed));

struct pxlcap2 {
  uint32_t stuff : 32;
} __attribute__((packed));

struct pxlc2 {
  uint16_t stuff : 16;
} __attribute__((packed));

struct pxls2 {
  uint16_t stuff : 16;
} __attribute__((packed));

struct pxscap2 {
  uint32_t stuff : 32;
} __attribute__((packed));

struct pxsc2 {
  uint16_t stuff : 16;
} __attribute__((packed));

struct pxss2 {
  uint16_t stuff : 16;
} __attribute__((packed));

struct pxcap {
  struct cap_hdr hdr;
  struct pxcaps pxcaps;   /* capabilities */
  struct pxdcap pxdcap;   /* device capabilities */
  union pxdc pxdc;        /* device control */
  struct pxds pxds;       /* device status */
  struct pxlcap pxlcap;   /* link capabilities */
  union pxlc pxlc;        /* link control */
  struct pxls pxls;       /* link status */
  struct pxscap pxscap;   /* slot capabilities */
  struct pxsc pxsc;       /* slot control */
  struct pxss pxss;       /* slot status */
  struct pxrc pxrc;       /* root control */
  struct pxrcap pxrcap;   /* root capabilities */
  struct pxrs pxrs;       /* root status */
  struct pxdcap2 pxdcap2; /* the same again, 2 */
  union pxdc2 pxdc2;
  struct pxds2 pxds2;
  struct pxlcap2 pxlcap2;
  struct pxlc2 pxlc2;
  struct pxls2 pxls2;
  struct pxscap2 pxscap2;
  struct pxsc2 pxsc2;
  struct pxss2 pxss2;
} __attribute__((packed));

#ifdef __cplusplus
}
#endif

#endif
