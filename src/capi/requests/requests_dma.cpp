// SPDX-License-Identifier: BSD-3-Clause
// The client's memory comes and goes.
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "capi/context.hpp"

namespace vmux::capi {
namespace {

namespace wire = wire::vfio_user;

constexpr std::uint32_t kReadable = VFIO_USER_F_DMA_REGION_READ, kWritable = VFIO_USER_F_DMA_REGION_WRITE,
                        kMapped = VFIO_USER_F_DMA_REGION_MMAP, kFile = VFIO_USER_F_DMA_REGION_FILE_IO,
                        kWithBitmap = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, kAll = VFIO_DMA_UNMAP_FLAG_ALL;

/// What follows an UNMAP that asks for the log; the bits follow.
struct BitmapHead {
  Le<std::uint64_t> page_size;
  Le<std::uint64_t> size;  // of the bits, in bytes
};
static_assert(sizeof(BitmapHead) == sizeof(vfio_user_bitmap));

void remove_memory(vfu_ctx& context, vfu_dma_info_t& info) {
  const auto start = reinterpret_cast<std::uint64_t>(info.iova.iov_base);
  if (context.dma_unregister != nullptr) context.dma_unregister(&context, &info);
  context.dma->remove(start);
}

/// 0 when the sizes of an UNMAP are those of its flags.
int check(const wire::DmaUnmap& asked, const Message& message) noexcept {
  std::uint64_t needed = sizeof asked, argsz = needed;
  if (asked.flags == kWithBitmap) {
    needed += sizeof(BitmapHead);
    const auto bitmap = wire::peek<BitmapHead>(std::span{message.payload}.subspan(sizeof asked));
    if (!bitmap || bitmap->size > kMaxTransfer) return EINVAL;
    argsz = needed + bitmap->size;
  } else if (asked.flags == kAll) {
    if (asked.address != 0 || asked.size != 0) return EINVAL;
  } else if (asked.flags != 0) {
    return EINVAL;
  }
  const bool fits = message.payload.size() >= needed && asked.argsz >= argsz && asked.argsz <= kMaxTransfer;
  return fits ? 0 : EINVAL;
}

/// The log of a range that goes, behind what the request began with.
int add_bitmap(vfu_ctx& context, const wire::DmaUnmap& asked, const Message& message, Reply& reply) {
  const auto bitmap = *wire::peek<BitmapHead>(std::span{message.payload}.subspan(sizeof asked));
  const std::size_t size = bitmap_bytes(asked.size, bitmap.page_size);
  if (size == 0 || size != bitmap.size) return EINVAL;
  std::vector<std::uint64_t> words(size / 8);
  if (const int error = context.dma->take_log(asked.address, asked.size, bitmap.page_size, words); error != 0)
    return error;
  const auto head = std::as_bytes(std::span{&bitmap, 1}), bits = std::as_bytes(std::span{words});
  reply.payload.insert(reply.payload.end(), head.begin(), head.end());
  reply.payload.insert(reply.payload.end(), bits.begin(), bits.end());
  return 0;
}

}  // namespace

void prepare_memory(vfu_ctx& context) {
  if (context.dma == nullptr) return;
  if (context.guards_memory) context.dma->guard();
  if (context.record != nullptr) context.dma->keep_files(context.record->closing());
}

void remove_all_memory(vfu_ctx& context) {
  if (context.dma == nullptr) return;
  while (vfu_dma_info_t* const info = context.dma->first())
    remove_memory(context, *info);
  if (context.dma->is_poisoned()) context.link.hang_up();  // what tells it goes with the files
  context.dma->forget_files();
}

int serve_dma_map(vfu_ctx& context, Message& message, Reply&) {
  if (context.dma == nullptr) return 0;
  const auto asked = wire::peek<wire::DmaMap>(message.payload);
  if (!asked || asked->argsz < sizeof *asked) return EINVAL;
  const std::uint32_t flags = asked->flags;
  const bool has_fd = !message.fds.empty();
  if ((flags & (kMapped | kFile)) != 0 && !has_fd) return EINVAL;
  const std::uint32_t mode = (flags & kMapped) != 0 ? kMapped : flags & kFile;
  if ((flags & ~(kReadable | kWritable | mode)) != 0) return EINVAL;

  DmaRequest request;
  request.start = asked->address;
  request.size = asked->size;
  request.offset = asked->offset;
  request.prot = ((flags & kReadable) != 0 ? PROT_READ : 0) | ((flags & kWritable) != 0 ? PROT_WRITE : 0);
  request.mode = !has_fd ? DmaMode::message : (mode == kFile ? DmaMode::file : DmaMode::mapped);
  if (has_fd) request.fd = std::move(message.fds.front());
  vfu_dma_info_t* info = nullptr;
  if (const int error = context.dma->add(std::move(request), info); error != 0) {
    vfu_log(&context, LOG_ERR, "cannot add memory [%#llx, +%#llx): %s", static_cast<unsigned long long>(asked->address),
            static_cast<unsigned long long>(asked->size), std::strerror(error));
    return error;
  }
  if (context.dma_register != nullptr) context.dma_register(&context, info);
  return 0;
}

int serve_dma_unmap(vfu_ctx& context, Message& message, Reply& reply) {
  if (context.dma == nullptr) return 0;
  const auto asked = wire::peek<wire::DmaUnmap>(message.payload);
  if (!asked) return EINVAL;
  if (const int error = check(*asked, message); error != 0) return error;
  reply.payload.assign(message.payload.begin(), message.payload.begin() + sizeof *asked);
  if (asked->flags == kAll) {
    remove_all_memory(context);
    return 0;
  }
  if (asked->flags == kWithBitmap) {
    if (const int error = add_bitmap(context, *asked, message, reply); error != 0) return error;
  }
  vfu_dma_info_t* const info = context.dma->find(asked->address, asked->size);
  if (info == nullptr) return ENOENT;
  remove_memory(context, *info);
  return 0;
}

}  // namespace vmux::capi
