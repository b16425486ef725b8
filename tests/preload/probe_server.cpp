// SPDX-License-Identifier: BSD-3-Clause
// probe-server SOCKET [no-message-dma]: serves the test function until it is killed.
#include <malloc.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <string_view>

#include "preload/probe_device.hpp"
#include "vmux/pci/function.hpp"
#include "vmux/runtime/poller.hpp"
#include "vmux/vfio_user/server.hpp"

namespace {

using namespace vmux;
namespace probe = vmux::tests::probe;

class Probe final : public pci::Device, public pci::Migratable {
 public:
  void attach(pci::Function& function) { function_ = &function; }

  void read_bar(pci::Region, RegionOffset offset, std::span<std::byte> into) noexcept override {
    ++registers_[probe::kAccesses / 4];
    if (offset.raw == probe::kHeap) {
      const std::uint64_t used = mallinfo2().uordblks;
      std::memcpy(bytes() + probe::kHeap, &used, sizeof used);
    }
    std::memset(into.data(), 0, into.size());
    if (fits(offset.raw, into.size(), sizeof registers_)) {
      std::memcpy(into.data(), bytes() + offset.raw, into.size());
    }
  }
  void write_bar(pci::Region, RegionOffset offset, std::span<const std::byte> from) noexcept override {
    ++registers_[probe::kAccesses / 4];
    if (!fits(offset.raw, from.size(), sizeof registers_) || offset.raw == probe::kAccesses) return;
    std::memcpy(bytes() + offset.raw, from.data(), from.size());
    const std::uint32_t value = registers_[offset.raw / 4];
    switch (offset.raw) {
      case probe::kCommand:
        run(value);
        break;
      case probe::kLevel:
        function_->interrupts().set_level(value != 0);
        break;
      case probe::kTrigger:
        function_->interrupts().trigger(value);
        break;
      case probe::kRequest:
        if (value == 1) {
          function_->interrupts().signal_error();
        } else {
          function_->interrupts().request_release();
        }
        break;
      default:
        break;
    }
  }
  void reset(pci::ResetKind) noexcept override { registers_ = {}; }

  // Its scratch register moves with it; while it runs too, as what it holds at that moment.
  pci::Migratable* migration() noexcept override { return this; }
  bool supports_pre_copy() const noexcept override { return true; }
  Result<void> enter(pci::MigrationState) override {
    moved_ = 0;
    return {};
  }
  Result<std::size_t> save(std::span<std::byte> into) override {
    const std::size_t size = std::min(into.size(), probe::kStateSize - moved_);
    std::memcpy(into.data(), bytes() + probe::kScratch + moved_, size);
    moved_ += size;
    return size;
  }
  Result<void> load(std::span<const std::byte> from) override {
    for (const std::byte byte : from)  // a later image, made when it had stopped, replaces one from before
      bytes()[probe::kScratch + moved_++ % probe::kStateSize] = byte;
    return {};
  }

 private:
  std::byte* bytes() { return reinterpret_cast<std::byte*>(registers_.data()); }
  void run(std::uint32_t command) {
    if (command == probe::kLeave) _exit(0);
    std::uint64_t address = 0;
    std::memcpy(&address, bytes() + probe::kAddress, sizeof address);
    const std::span part =
        std::span{buffer_}.first(std::min<std::size_t>(registers_[probe::kLength / 4], buffer_.size()));
    registers_[probe::kStatus / 4] = 0;
    const auto done = [this, part](Result<void> result) {
      std::uint32_t sum = 0;
      for (const std::byte byte : part)
        sum += std::to_integer<std::uint32_t>(byte);
      registers_[probe::kSum / 4] = sum;
      registers_[probe::kStatus / 4] = result ? 1 : 2;
    };
    if (command == probe::kFill) std::memset(part.data(), probe::kFillByte, part.size());
    if (command == probe::kFill) {
      function_->dma_write(Iova{address}, part, done);
    } else {
      function_->dma_read(Iova{address}, part, done);
    }
  }

  pci::Function* function_ = nullptr;
  std::size_t moved_ = 0;  // bytes of the state that is saved or loaded
  std::array<std::uint32_t, 16> registers_{};
  std::array<std::byte, 4096> buffer_{};
};

pci::FunctionSpec description() {
  pci::FunctionSpec spec;
  spec.name = "probe";
  spec.vendor_id = probe::kVendor;
  spec.device_id = probe::kDevice;
  spec.class_code = 0xff0000;
  spec.intx = true;
  spec.bars[0] = pci::BarSpec{pci::BarKind::memory32, false, probe::kBarSize, {{probe::kSharedAt, probe::kSharedSize}}};
  spec.bars[2] = pci::BarSpec{pci::BarKind::io, false, 64, {}};
  spec.bars[4] = pci::BarSpec{pci::BarKind::memory32, false, 0x4000, {}};
  spec.capabilities = {pci::Express{}, pci::Msi{probe::kMsiVectors},
                       pci::Msix{probe::kVectors, pci::Region::bar4, 0, pci::Region::bar4, 0x2000}};
  return spec;
}

int complain(const Error& error) {
  std::fprintf(stderr, "probe-server: %s\n", error.text().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  Probe device;
  const auto function = pci::Function::create(description(), device);
  if (!function) return complain(function.error());
  device.attach(**function);
  const auto poller = runtime::Poller::create();
  if (!poller) return complain(poller.error());
  vfio_user::ServerOptions options;
  options.path = argv[1];
  options.accept_message_dma = argc < 3 || std::string_view{argv[2]} != "no-message-dma";
  const auto server = vfio_user::Server::create(**poller, **function, options);
  if (!server) return complain(server.error());
  std::puts("ready");
  std::fflush(stdout);
  for (;;)
    (*poller)->run_once(1'000'000'000);
}
