/* SPDX-License-Identifier: BSD-3-Clause */
/* A device by the C interface, as somebody builds one who has nothing but what is installed. */
#include <stdio.h>
#include <vfio-user/libvfio-user.h>
#include <vfio-user/vmux-extensions.h>

int main(int count, char** arguments) {
  if (count != 2) return 2;
  vfu_ctx_t* ctx = vfu_create_ctx(VFU_TRANS_SOCK, arguments[1], LIBVFIO_USER_FLAG_ATTACH_NB, NULL, VFU_DEV_TYPE_PCI);
  if (ctx == NULL || vfu_pci_init(ctx, VFU_PCI_TYPE_EXPRESS, PCI_HEADER_TYPE_NORMAL, 0) != 0 ||
      vmux_setup_async_dma(ctx) < 0 || vfu_realize_ctx(ctx) != 0) {
    perror("device");
    return 1;
  }
  vfu_destroy_ctx(ctx);
  return 0;
}
