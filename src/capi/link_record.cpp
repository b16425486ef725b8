// SPDX-License-Identifier: BSD-3-Clause
// The streams as another process finds them, and goes on with them.
#include <utility>

#include "capi/link.hpp"
#include "capi/record.hpp"

namespace vmux::capi {

void Link::commit() {
  if (record_ == nullptr || !transport_) return;
  const bool is_left_out = !can_be_left();
  if (std::exchange(was_left_out_, is_left_out) != is_left_out) record_->set_changed();
  transport_->commit(record_->write());
}

// On the only socket, requests are served that others had read before, and answers taken in between: no record tells
// that. So whoever dies then has no client to leave. A second socket has nothing but questions and answers: its record
// says which question was the last.
void Link::commit_question() {
  if (twin_) return twin_->commit(dma_->last_id());
  commit();
}

tl::expected<void, std::string> Link::adopt(LeftStream main, std::optional<LeftStream> twin, std::uint64_t max_transfer,
                                            bool may_be_qemu, std::uint16_t last_dma_id) {
  transport_.emplace(ipc::Connection{std::move(main.socket)}, kMaxMessage,
                     record_ != nullptr ? &record_->stream() : nullptr);
  is_dead_ = false;
  if (auto loaded = transport_->load(main.bytes, main.fds, "stream"); !loaded) return loaded;
  agreed(twin ? std::move(twin->socket) : UniqueFd{}, max_transfer, may_be_qemu);
  if (twin) {
    if (auto loaded = twin_->load(twin->bytes, twin->fds, "stream"); !loaded) return loaded;
  }
  dma_->go_on_behind(last_dma_id);
  has_old_answers_ = twin_.has_value();
  has_to_resume_ = true;
  if (record_ == nullptr) return {};
  transport_->for_each_fd([this](int fd) { record_->keep(fd); });
  if (twin_) twin_->commit(last_dma_id);
  return {};
}

// Any thread may use the second socket by now; whoever does sends what is left there first.
bool Link::resume() {
  has_to_resume_ = false;
  const std::scoped_lock lock{dma_mutex_};
  if (twin_ && !flush(*twin_)) return false;
  return flush(*transport_);
}

void Link::wait_for_listener(const char* path, bool is_nonblocking) {
  is_nonblocking_ = is_nonblocking;
  path_ = path;
  is_path_others_ = true;
}

void Link::adopt_listener(UniqueFd listener) noexcept {
  if (listener_) return;
  listener_ = std::move(listener);
  is_path_others_ = false;
}

void Link::let_go() noexcept {
  if (transport_) transport_->let_go();
  if (twin_) twin_->let_go();
  is_path_others_ = true;
}

}  // namespace vmux::capi
