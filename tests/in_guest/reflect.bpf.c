// SPDX-License-Identifier: BSD-3-Clause
// An XDP program: sends frames of EtherType 0x88b5 back where they came from, with the first byte of payload inverted,
// out of the buffer that they were received into; all others pass. For clang -target bpf.
#include <linux/bpf.h>

#define SECTION(name) __attribute__((section(name), used))

SECTION("xdp") int reflect(struct xdp_md* context) {
  unsigned char* frame = (void*)(long)context->data;
  const unsigned char* end = (void*)(long)context->data_end;
  if (frame + 60 > end || frame[12] != 0x88 || frame[13] != 0xb5) return XDP_PASS;
  for (int i = 0; i < 6; i++) {
    const unsigned char byte = frame[i];
    frame[i] = frame[i + 6];
    frame[i + 6] = byte;
  }
  frame[14] ^= 0xff;
  return XDP_TX;
}

char terms[] SECTION("license") = "Dual BSD/GPL";
