// SPDX-License-Identifier: BSD-3-Clause
// A context that goes on where a process has died. What that left is checked as if a stranger had written it.
#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <optional>
#include <string>
#include <string_view>

#include "base/crc.hpp"
#include "capi/context.hpp"
#include "capi/saved_context.hpp"
#include "vfio_user/saved_session.hpp"
#include "vmux/state/reader.hpp"

namespace vmux::capi {
namespace {

using ipc::StreamFds;
using ipc::StreamRecord;
using Problem = tl::expected<void, std::string>;

tl::unexpected<std::string> bad(const char* why) { return tl::unexpected(std::string{why}); }

std::span<const std::byte> as_bytes(const std::vector<std::uint8_t>& from) { return std::as_bytes(std::span{from}); }

/// Bytes of configuration space that say what it is made of, and that no client changes.
std::vector<std::size_t> fixed_places(vfu_ctx& context) {
  std::vector<std::size_t> places{0, 1, 2, 3, 8, 9, 10, 11, 14, 0x2c, 0x2d, 0x2e, 0x2f, 0x34};
  const std::size_t size = context.regions[VFU_PCI_DEV_CFG_REGION_IDX].size;
  for (const Capability& each : context.config.capabilities()) {
    for (std::size_t i = 0; i < (each.is_extended() ? 4u : 2u); ++i)
      places.push_back(each.at + i);
  }
  std::erase_if(places, [size](std::size_t at) { return at >= size; });
  return places;
}

struct PlainVector {
  std::uint32_t kind, number;
};
/// Of a name that Record::listener_name() gives where interrupts are not emulated.
std::optional<PlainVector> plain_vector(std::string_view name) noexcept {
  if (name == "err/0") return PlainVector{VFU_DEV_ERR_IRQ, 0};
  if (name == "req/0") return PlainVector{VFU_DEV_REQ_IRQ, 0};
  constexpr std::string_view kVector = "vector/";
  PlainVector found{VFU_DEV_INTX_IRQ, 0};
  if (name.substr(0, kVector.size()) != kVector) return {};
  const char* const end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(name.data() + kVector.size(), end, found.number);
  return error == std::errc{} && rest == end ? std::optional{found} : std::nullopt;
}

/// What another process has left, and where its descriptors are to be had.
class Restorer {
 public:
  Restorer(vfu_ctx& context, vmux_find_fd_cb_t* finder, void* argument) noexcept
      : context_(context), find_(finder), argument_(argument) {}

  /// Which image counts, and the streams.
  [[nodiscard]] Problem read(std::span<const int, VMUX_RECORD_FILES> files);
  [[nodiscard]] bool has_client() const noexcept { return saved_.has_client; }
  [[nodiscard]] Problem take_listener();
  /// No client can be taken over: it hears the end now.
  void hang_up();
  [[nodiscard]] Problem take_client();
  void tell_program();

 private:
  [[nodiscard]] UniqueFd find(std::uint32_t number) const;
  [[nodiscard]] Problem take_config();
  [[nodiscard]] Problem take_irqs();
  [[nodiscard]] Problem take_ranges();
  [[nodiscard]] Problem take_counted();
  [[nodiscard]] Problem take_streams();
  [[nodiscard]] tl::expected<Link::LeftStream, std::string> stream_of(const StreamRecord::Left& left,
                                                                      std::uint32_t socket) const;

  vfu_ctx& context_;
  vmux_find_fd_cb_t* find_;
  void* argument_;
  SavedContext saved_;
  std::vector<std::byte> image_;
  std::optional<state::Reader> reader_;
  StreamRecord::Left main_, twin_;
};

UniqueFd Restorer::find(std::uint32_t number) const {
  if (number > INT_MAX) return {};
  return UniqueFd{find_(&context_, argument_, static_cast<int>(number))};
}

UniqueFd copy_of(int fd) noexcept { return UniqueFd{::fcntl(fd, F_DUPFD_CLOEXEC, 0)}; }

Problem Restorer::read(std::span<const int, VMUX_RECORD_FILES> files) {
  auto slots = state::ControlSlots::adopt(copy_of(files[0]));
  if (!slots) return tl::unexpected(slots.error().text());
  const auto look = [](int fd, StreamRecord::Left& into) -> Problem {
    const auto record = StreamRecord::open(copy_of(fd));
    if (!record) return tl::unexpected(record.error());
    auto left = record->left(&vfio_user::Transport::owner_of_last_byte, kMaxMessage);
    if (!left) return tl::unexpected(left.error());
    into = std::move(*left);
    return {};
  };
  if (auto looked = look(files[1], main_); !looked) return looked;
  if (auto looked = look(files[2], twin_); !looked) return looked;
  const auto load = [this](Result<std::vector<std::byte>> image) -> Problem {
    if (!image) return tl::unexpected(image.error().text());
    image_ = std::move(*image);
    auto reader = state::Reader::open(image_);
    if (!reader) return tl::unexpected(reader.error());
    reader_.emplace(std::move(*reader));
    saved_ = {};
    return reader_->load(saved_);
  };
  if (auto loaded = load(slots->newest()); !loaded) return loaded;
  if (saved_.description != description_of(context_)) return bad("it is of another device");
  // With a client the stream says which image counts. One that has committed nothing has agreed on nothing.
  if (!saved_.has_client || main_.image == slots->sequence()) return {};
  if (main_.image == 0) {
    saved_.has_client = false;
    return {};
  }
  if (auto loaded = load(slots->image(main_.image)); !loaded) return loaded;
  return saved_.description == description_of(context_) ? Problem{} : bad("it is of another device");
}

Problem Restorer::take_listener() {
  context_.link.set_first_request(saved_.has_client ? saved_.first_request + main_.in_position : saved_.first_request);
  if (context_.link.listener() >= 0) return {};
  UniqueFd listener = find(saved_.listener);
  if (!listener) return bad("the listening socket is missing");
  context_.link.adopt_listener(std::move(listener));
  return {};
}

void Restorer::hang_up() {
  for (const std::uint32_t number : {saved_.connection, saved_.twin}) {
    if (number != SavedContext::kNone) ipc::Connection{find(number)}.hang_up();
  }
}

Problem Restorer::take_client() {
  if (saved_.migration != pci::MigrationState::running && !context_.migration) return bad("it migrates");
  if (auto taken = take_irqs(); !taken) return taken;
  if (auto taken = take_config(); !taken) return taken;
  if (auto taken = take_ranges(); !taken) return taken;
  if (auto taken = take_counted(); !taken) return taken;
  if (auto taken = take_streams(); !taken) return taken;
  if (context_.migration) context_.migration->state = saved_.migration;
  context_.write_multiple = saved_.write_multiple;
  context_.max_transfer = saved_.max_transfer;
  context_.is_negotiated = true;
  if (context_.record == nullptr) return {};
  context_.record->set_changed();
  context_.link.commit();
  context_.record->settle();
  return {};
}

Problem Restorer::take_config() {
  const auto now = context_.config.bytes().first(context_.regions[VFU_PCI_DEV_CFG_REGION_IDX].size);
  if (saved_.config.size() != now.size()) return bad("its configuration space has another size");
  for (const std::size_t at : fixed_places(context_))
    saved_.config[at] = now[at];
  std::ranges::copy(saved_.config, now.begin());
  if (context_.emulated != nullptr) context_.emulated->config_written(context_);
  return {};
}

// First who listens and what is masked, so that nothing is sent that was held back.
Problem Restorer::take_irqs() {
  state::FdBag routing;
  for (const SavedContext::Listener& each : saved_.listeners) {
    UniqueFd fd = find(each.fd);
    if (!fd) return bad("an eventfd is missing");
    if (context_.record != nullptr) {
      UniqueFd own = copy_of(fd.get());
      if (!own) return bad("there is no room for its eventfds");
      context_.record->set_listener(each.name, std::move(own));
    }
    const auto vector = plain_vector(each.name);
    if (vector) {
      if (context_.irqs.attach(vector->kind, vector->number, std::move(fd)) != 0) return bad("a vector is not there");
    } else if (!routing.put(each.name, std::move(fd))) {
      return bad("a vector is there twice, or has no name");
    }
  }
  if (context_.emulated == nullptr) return {};
  if (auto done = context_.emulated->routing().load_routing(*reader_, routing); !done) return done;
  const int error = context_.emulated->load(context_, as_bytes(saved_.irqs), /*is_new=*/true);
  return error == 0 ? Problem{} : bad("its interrupts are of another device");
}

Problem Restorer::take_ranges() {
  if (context_.dma == nullptr && !saved_.ranges.empty()) return bad("it has memory, and the device uses none");
  for (const SavedContext::Range& each : saved_.ranges) {
    DmaRequest request;
    request.start = each.start;
    request.size = each.size;
    request.offset = each.offset;
    const bool is_known =
        each.prot <= (PROT_READ | PROT_WRITE) && each.mode <= static_cast<std::uint8_t>(DmaMode::file);
    if (!is_known) return bad("a range of memory is of no kind");
    request.prot = each.prot;
    request.mode = static_cast<DmaMode>(each.mode);
    if (request.mode != DmaMode::message) {
      request.fd = find(each.fd);
      if (!request.fd) return bad("a descriptor of its memory is missing");
    }
    vfu_dma_info_t* info = nullptr;
    if (context_.dma->add(std::move(request), info) != 0) return bad("its memory cannot be mapped");
  }
  if (saved_.log_page_size == 0) return {};
  if (context_.dma == nullptr || context_.dma->start_log(saved_.log_page_size) != 0)
    return bad("the log of its memory cannot be");
  context_.dma->mark_all();
  return {};
}

Problem Restorer::take_counted() {
  for (const SavedContext::Counted& each : saved_.counted) {
    const UniqueFd fd = find(each.fd);
    if (!fd || !context_.watches.set_offered(each.region, each.offset, fd)) return bad("a watched word is missing");
  }
  return {};
}

tl::expected<Link::LeftStream, std::string> Restorer::stream_of(const StreamRecord::Left& left,
                                                                std::uint32_t socket) const {
  Link::LeftStream out{find(socket), {}, {}};
  if (!out.socket) return bad("a socket is missing");
  const auto numbers = [](const std::vector<std::byte>& bytes) {
    const auto* const first = reinterpret_cast<const std::uint8_t*>(bytes.data());
    return std::vector<std::uint8_t>(first, first + bytes.size());
  };
  out.bytes.in = numbers(left.in);
  out.bytes.out = numbers(left.out);
  const auto add = [&](const StreamFds& from, std::uint64_t begin, auto& into, const char* kind, unsigned& next) {
    const auto position = static_cast<std::uint32_t>(std::max(from.position, begin) - begin);
    if (into.empty() || into.back().position != position) into.push_back({position, 0, false});
    auto& message = into.back();
    message.lost |= from.lost != 0;
    for (std::uint32_t i = 0; i < from.count && message.fds < StreamFds::kMost; ++i) {
      UniqueFd fd = find(static_cast<std::uint32_t>(from.fds[i]));
      const bool is_there = fd && out.fds.put(state::fd_name(kind, next), std::move(fd));
      message.lost |= !is_there;
      if (!is_there) continue;
      ++next;
      ++message.fds;
    }
  };
  unsigned next = 0;
  for (const StreamFds& each : left.arrived)
    add(each, left.in_position, out.bytes.arrived, "stream/in", next);
  next = 0;
  for (const StreamFds& each : left.departing)
    add(each, left.out_position, out.bytes.departing, "stream/out", next);
  // A request without its descriptors is answered so. An answer without them is none.
  for (const auto& each : out.bytes.departing) {
    if (each.lost) return bad("a descriptor that was to be sent is missing");
  }
  return out;
}

Problem Restorer::take_streams() {
  auto main = stream_of(main_, saved_.connection);
  if (!main) return tl::unexpected(main.error());
  std::optional<Link::LeftStream> twin;
  if (saved_.twin != SavedContext::kNone) {
    auto second = stream_of(twin_, saved_.twin);
    if (!second) return tl::unexpected(second.error());
    twin.emplace(std::move(*second));
  }
  return context_.link.adopt(std::move(*main), std::move(twin), saved_.max_transfer, saved_.may_be_qemu,
                             static_cast<std::uint16_t>(twin_.image));
}

void Restorer::tell_program() {
  context_.watches.tell_all();
  if (context_.dma_register == nullptr) return;
  for (const SavedContext::Range& each : saved_.ranges) {
    // One callback may lead to anything but a change of the ranges: that takes a request.
    vfu_dma_info_t* const info = context_.dma->find(each.start, each.size);
    if (info != nullptr) context_.dma_register(&context_, info);
  }
}

}  // namespace

std::vector<std::uint8_t> description_of(vfu_ctx& context) {
  std::vector<std::uint8_t> bytes;
  const auto add = [&](std::uint64_t value) {
    for (unsigned i = 0; i < 8; ++i)
      bytes.push_back(static_cast<std::uint8_t>(value >> 8 * i));
  };
  for (const Region& region : context.regions) {
    add(region.size);
    add(static_cast<std::uint64_t>(region.flags) << 1 | (region.fd >= 0 ? 1 : 0));
    Crc32c areas;  // there may be thousands
    for (const iovec& area : region.areas)
      areas.add(std::as_bytes(std::span{&area, 1}));
    add(std::uint64_t{areas.finish()} << 32 | region.areas.size());
  }
  for (const std::uint32_t count : context.irqs.counts)
    add(count);
  add(context.emulated_kinds);
  add((context.dma != nullptr ? 1u : 0u) | (context.migration ? 2u : 0u));
  for (const Capability& each : context.config.capabilities()) {
    add(each.at);
    add(each.size);
    add(static_cast<std::uint64_t>(each.flags));
  }
  for (const std::size_t at : fixed_places(context))
    bytes.push_back(context.config.bytes()[at]);
  return bytes;
}

int restore(vfu_ctx& context, std::span<const int, VMUX_RECORD_FILES> files, vmux_find_fd_cb_t* find, void* argument) {
  Restorer restorer{context, find, argument};
  const auto refuse = [&](const std::string& why) {
    vfu_log(&context, LOG_ERR, "what a process has left cannot be taken over: %s", why.c_str());
    context.link.let_go();
    while (vfu_dma_info_t* const info = context.dma == nullptr ? nullptr : context.dma->first())
      context.dma->remove(reinterpret_cast<std::uint64_t>(info->iova.iov_base));  // the program has not heard of it
    return EINVAL;
  };
  if (auto good = restorer.read(files); !good) return refuse(good.error());
  if (auto taken = restorer.take_listener(); !taken) return refuse(taken.error());
  if (!restorer.has_client()) {
    restorer.hang_up();
    if (context.record != nullptr) {
      context.record->set_changed();
      static_cast<void>(context.record->write());
    }
    return ENOTCONN;
  }
  if (auto taken = restorer.take_client(); !taken) return refuse(taken.error());
  restorer.tell_program();
  return 0;
}

}  // namespace vmux::capi
