// SPDX-License-Identifier: BSD-3-Clause
// From the taps of a capture to whoever reads it: a task of a poller that moves no frames.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/capture/pcapng.hpp"
#include "switch/copies/tap.hpp"
#include "vmux/base/counter.hpp"
#include "vmux/base/unique_fd.hpp"
#include "vmux/runtime/poller.hpp"

namespace vmux::control {

/// Why a capture ended.
enum class CaptureEnd : unsigned char {
  none,     ///< it goes on
  count,    ///< all frames that were asked for are there
  reader,   ///< its reader wanted no more: it closed its side for writing
  gone,     ///< its reader is gone
  removed,  ///< what was captured is
  stopped,  ///< by a call
  daemon,   ///< by the end of this process
};
[[nodiscard]] const char* name_of(CaptureEnd end) noexcept;

/// Frames.
struct CaptureTotals {
  std::uint64_t seen = 0;     ///< of the ways and fates that are wanted
  std::uint64_t passed = 0;   ///< the filter
  std::uint64_t missed = 0;   ///< of those: they found no room
  std::uint64_t written = 0;  ///< to the reader
};

/// Never waits: a reader that does not read has its taps fill up, and misses frames. Made anywhere; start() and all
/// behind it on its poller. The taps must outlive it; they are written to until finish().
class CaptureWriter final : public runtime::Task {
 public:
  struct Options {
    std::string filter;         ///< in words, for the file
    std::uint32_t snaplen = 0;  ///< the same; 0: whole frames
    std::uint64_t count = 0;    ///< frames to write; 0: all
    /// Called when it ends by itself, and when it is closed, until it answers with true: somebody looks after it.
    std::function<bool()> on_change;
  };
  /// `socket`: a connected UNIX stream socket.
  CaptureWriter(runtime::Poller& poller, UniqueFd socket, std::vector<switching::Tap*> taps, Options options);
  ~CaptureWriter() override;
  CaptureWriter(const CaptureWriter&) = delete;
  CaptureWriter& operator=(const CaptureWriter&) = delete;

  [[nodiscard]] Result<void> start();
  /// A port whose frames the taps will have. One of a known name is the same interface, plugged in elsewhere.
  void add(switching::PortId port, const std::string& name, const std::string& description);
  /// The taps are written to no more: what is in them is written, and how it ended, with the sentence `why`; then the
  /// socket is closed. A reader that takes nothing for a second, or not all in 30, is left; with `at_once`, which may
  /// follow, one that has no room now.
  void finish(CaptureEnd end, const std::string& why, bool at_once = false);

  unsigned poll() noexcept override;
  [[nodiscard]] bool needs_polling() const noexcept override { return socket_ || has_news_; }

  [[nodiscard]] CaptureEnd end() const noexcept { return end_; }
  [[nodiscard]] bool is_closed() const noexcept { return !socket_; }
  [[nodiscard]] CaptureTotals totals() const noexcept;

 private:
  struct Interface {
    std::string name;
    std::uint64_t written = 0, told_missed = 0;
  };
  /// A port as it is plugged in, whose slot on its switch another may have later.
  struct Source {
    switching::PortId port;
    std::uint32_t interface = 0;
    CaptureTotals before{};
    std::optional<CaptureTotals> after{};
  };
  [[nodiscard]] CaptureTotals counts_of(switching::PortId port) const noexcept;
  [[nodiscard]] CaptureTotals totals_of(const Source& source) const noexcept;
  [[nodiscard]] CaptureTotals totals_of(std::uint32_t interface) const noexcept;
  [[nodiscard]] std::uint64_t wall(std::uint64_t monotonic) const noexcept { return monotonic + wall_offset_ns_; }
  void on_reader(std::uint32_t events);
  void end_by(CaptureEnd end) noexcept;
  [[nodiscard]] switching::Tap* oldest() const noexcept;
  [[nodiscard]] unsigned drain();
  void write(std::span<const std::byte> record);
  void tell_missed();
  void write_statistics(std::uint32_t interface, std::string_view comment);
  [[nodiscard]] bool send() noexcept;
  void close() noexcept;

  runtime::Poller& poller_;
  UniqueFd socket_;
  const std::vector<switching::Tap*> taps_;
  const Options options_;
  const std::uint64_t begin_ns_, wall_offset_ns_;
  runtime::Watch watch_;
  std::vector<Interface> interfaces_;
  std::vector<Source> sources_;
  pcapng::Bytes output_;
  std::size_t sent_ = 0;  // of output_
  std::uint64_t written_ = 0, next_look_ns_ = 0, close_at_ns_ = 0, give_up_at_ns_ = 0;
  CaptureEnd end_ = CaptureEnd::none;
  std::optional<std::string> why_;  // it is finished
  bool is_told_ = false;            // how it ended stands in output_
  bool has_news_ = false;
};

}  // namespace vmux::control
