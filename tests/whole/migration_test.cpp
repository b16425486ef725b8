// SPDX-License-Identifier: BSD-3-Clause
// VMs that migrate under traffic, by our own client: their memory is copied by what processor and card say they have
// written, and nothing else; their card's state goes over in VFIO's states. Every frame is there once, both ways.
#include <gtest/gtest.h>

#include <thread>

#include "device/gpio_idio16/device.hpp"
#include "fake_guest/virtchnl_numbers.hpp"
#include "rigs/e1000_rig.hpp"
#include "rigs/e810_rig.hpp"
#include "rigs/iavf_rig.hpp"
#include "rigs/migrating.hpp"
#include "rigs/virtio_net_rig.hpp"
#include "vmux/base/clock.hpp"

namespace vmux::rigs {
namespace {

using pci::MigrationState;

constexpr unsigned kRing = 64, kSpare = 8;  // descriptors; those that a driver leaves free
constexpr std::uint64_t kDeadline_ns = 60'000'000'000;

/// What the card writes to, where the fake guest has it.
struct Place {
  const char* what;
  std::uint64_t begin, end;
};

// --- one driver for all: a card, how its driver starts, and what it does ---

template <device::e1000::Doorbell kDoorbell>
struct E1000Model {
  using Card = device::e1000::Nic;
  using Guest = fake_guest::E1000Guest;
  static device::e1000::NicOptions options() { return {.name = "test", .mac = kStation, .doorbell = kDoorbell}; }
  static void start(Guest& guest) { guest.bring_up({.mapped_doorbells = kDoorbell == device::e1000::Doorbell::poll}); }
  static void queue(Guest& guest, const FrameBytes& frame) { guest.queue(frame); }
  static void ring(Guest& guest) { guest.ring_doorbell(); }
  static unsigned reap(Guest& guest) { return guest.reap(); }
  static std::optional<FrameBytes> receive(Guest& guest) {
    auto frame = guest.receive();
    if (!frame) return std::nullopt;
    guest.refill();
    return std::move(frame->bytes);
  }
  static void ask(Guest&) {}
  static void ring_ask(Guest&) {}
  static void end_ask(Guest&) {}
  static std::vector<Place> places() {
    return {{"transmit ring", 0x1'0000, 0x1'1000},
            {"receive ring", 0x2'0000, 0x2'1000},
            {"receive buffers", 0x20'0000, 0x20'0000 + kRing * 0x4000}};
  }
};

struct IavfModel {
  using Card = device::iavf::Nic;
  using Guest = fake_guest::IavfGuest;
  static device::iavf::NicOptions options() {
    return {.name = "test", .mac = kIavfStation, .doorbell = device::iavf::Doorbell::poll, .queue_pairs = 2};
  }
  static void start(Guest& guest) { guest.bring_up({.mapped_doorbells = true}); }
  static void queue(Guest& guest, const FrameBytes& frame) { guest.queue(0, frame); }
  static void ring(Guest& guest) { guest.ring_tx(0); }
  static unsigned reap(Guest& guest) { return guest.reap(); }
  static std::optional<FrameBytes> receive(Guest& guest) {
    auto frame = guest.receive();
    if (!frame) return std::nullopt;
    return std::move(frame->bytes);
  }
  static void ask(Guest& guest) {
    guest.queue_message(fake_guest::virtchnl::kStats, fake_guest::IavfBody{}.u16(1).zeros(10).bytes());
  }
  static void ring_ask(Guest& guest) { guest.ring_admin(); }
  static void end_ask(Guest& guest) {
    while (const auto message = guest.receive_message())
      EXPECT_EQ(message->status, 0);
  }
  static std::vector<Place> places() {
    return {{"transmit ring", Guest::tx_ring(0), Guest::tx_ring(0) + 0x1000},
            {"receive ring", Guest::rx_ring(0), Guest::rx_ring(0) + 0x1000},
            {"receive buffers", 0x80'0000, 0x80'0000 + kRing * 0x4000},
            {"admin send ring", Guest::kSendRing, Guest::kSendRing + 0x1000},
            {"admin receive ring", Guest::kReceiveRing, Guest::kReceiveRing + 0x1000},
            {"admin messages", Guest::kReceiveBuffers, Guest::kReceiveBuffers + 32 * 0x1000}};
  }
};

struct E810Model {
  using Card = E810Card;
  using Guest = fake_guest::E810Guest;
  static device::e810::NicOptions options() {
    return {.name = "test", .mac = kE810Station, .doorbell = device::e810::Doorbell::trap, .queue_pairs = 2};
  }
  static void start(Guest& guest) {
    const char* const problem = guest.probe();
    VMUX_ASSERT(problem == nullptr);
    guest.bring_up();
  }
  static void queue(Guest& guest, const FrameBytes& frame) { guest.send_frame(frame); }
  static void ring(Guest&) {}
  static unsigned reap(Guest& guest) { return guest.reap(); }
  static std::optional<FrameBytes> receive(Guest& guest) {
    auto frame = guest.receive();
    if (!frame) return std::nullopt;
    guest.refill();
    return std::move(frame->bytes);
  }
  static void ask(Guest& guest) { guest.queue_command(1, {}, {}, true); }  // get version
  static void ring_ask(Guest& guest) { guest.ring_admin(); }
  static void end_ask(Guest&) {}
  static std::vector<Place> places() {
    return {{"transmit ring", Guest::tx_ring(0), Guest::tx_ring(0) + 0x1000},
            {"receive ring", Guest::rx_ring(0), Guest::rx_ring(0) + 0x1000},
            {"receive buffers", Guest::kRxBuffers, Guest::kRxBuffers + kRing * Guest::kBufferStride / 2},
            {"admin ring", Guest::kSendRing, Guest::kSendRing + 0x1000}};
  }
};

template <bool is_packed>
struct VirtioModel {
  using Card = VirtioCard;
  using Guest = fake_guest::VirtioNetGuest;
  static constexpr unsigned kControlQueue = 4;  // of a card with two pairs
  static VirtioCard::Options options() {
    return {.name = "test", .mac = kVirtioStation, .doorbell = device::virtio_net::Doorbell::trap, .queue_pairs = 2};
  }
  static void start(Guest& guest) {
    guest.bring_up({.features = is_packed ? ~std::uint64_t{0} : ~fake_guest::virtio_bit::packed, .size = kRing});
  }
  static void queue(Guest& guest, const FrameBytes& frame) { guest.queue(frame, {}); }
  static void ring(Guest& guest) {
    guest.ring(1).publish();
    guest.notify(1);
  }
  static unsigned reap(Guest& guest) { return guest.reap(); }
  static std::optional<FrameBytes> receive(Guest& guest) {
    auto frame = guest.receive();
    if (!frame) return std::nullopt;
    guest.refill();
    return std::move(frame->bytes);
  }
  static void ask(Guest& guest) {  // all addresses are to come
    constexpr std::uint64_t kCommand = 0x8'0000, kAnswer = 0x8'8000;
    guest.memory()[kCommand] = guest.memory()[kCommand + 1] = std::byte{0};
    guest.memory()[kCommand + 0x100] = std::byte{1};
    guest.memory()[kAnswer] = std::byte{0xee};
    guest.ring(kControlQueue)
        .post({{kCommand, 2, false}, {kCommand + 0x100, 1, false}, {kAnswer, 1, true}}, /*token=*/1);
  }
  static void ring_ask(Guest& guest) { guest.notify(kControlQueue); }
  static void end_ask(Guest& guest) { EXPECT_TRUE(guest.ring(kControlQueue).take_used()); }
  static std::vector<Place> places() {
    constexpr std::uint64_t used = is_packed ? 0 : 0xc000;  // descriptors and used ring are one, or two
    const auto ring_of = [](unsigned queue) { return Guest::ring_at(queue) + used; };
    return {{"transmit ring", ring_of(1), ring_of(1) + 0x1000},
            {"receive ring", ring_of(0), ring_of(0) + 0x1000},
            {"receive buffers", 0xa0'0000, 0xa0'0000 + kRing * 2048},
            {"control ring", ring_of(kControlQueue), ring_of(kControlQueue) + 0x1000},
            {"answers of commands", 0x8'8000, 0x8'9000}};
  }
  /// Event suppression: written when it changes, which it need not.
  static std::vector<Place> maybe() {
    std::vector<Place> all;
    for (const unsigned queue : {0u, 1u, kControlQueue})
      all.push_back({"event suppression", Guest::ring_at(queue) + 0xc000, Guest::ring_at(queue) + 0xd000});
    return all;
  }
};

bool is_in(const std::vector<Place>& places, std::size_t page) {
  return std::any_of(places.begin(), places.end(), [page](const Place& place) {
    return page * CpuLog::kPage >= place.begin && page * CpuLog::kPage < place.end;
  });
}
template <class Model>
bool can_be_written(std::size_t page) {
  if constexpr (requires { Model::maybe(); }) {
    if (is_in(Model::maybe(), page)) return true;
  }
  return is_in(Model::places(), page);
}

// --- a VM ---

template <class Model>
class Vm {
 public:
  using TheDaemon = Daemon<typename Model::Card>;
  static constexpr std::size_t kPages = Model::Guest::kMemory / CpuLog::kPage;

  Vm() : daemon_(std::make_unique<TheDaemon>(Model::options())), client_(daemon_->connect()) {
    guest_ = std::make_unique<typename Model::Guest>(fake_guest::Card{std::make_unique<ClientWay>(*client_)});
    Model::start(*guest_);
    daemon_->plug_in(numbers);
  }

  /// What a driver does in a moment.
  void step() {
    for (unsigned count = ++steps_ % 4; count > 0 && unreaped_ + kSpare < kRing; --count, ++unreaped_)
      Model::queue(*guest_, numbered(sent_++));
    Model::ring(*guest_);
    unreaped_ -= Model::reap(*guest_);
    look();
    if (steps_ % 16 != 0) return;
    Model::ask(*guest_);
    Model::ring_ask(*guest_);
    Model::end_ask(*guest_);
  }
  void look() {
    while (const auto frame = Model::receive(*guest_)) {
      ASSERT_EQ(*frame, numbered(received_));
      ++received_;
    }
    numbers.allowed = received_ + kRing / 2;  // there is a buffer for each: a card may drop what finds none
  }
  /// Until as many more frames as there are descriptors have gone each way, so that each has been used.
  void run_for_a_lap() {
    const unsigned sent = sent_, received = received_;
    const std::uint64_t end = monotonic_ns() + kDeadline_ns;
    while ((sent_ < sent + 2 * kRing || received_ < received + 2 * kRing) && monotonic_ns() < end &&
           !testing::Test::HasFatalFailure())
      step();
    ASSERT_GE(received_, received + 2 * kRing) << "frames do not arrive";
    ASSERT_FALSE(numbers.is_wrong);
  }
  /// Until nothing is under way any more.
  void come_to_rest() {
    numbers.allowed = numbers.arrived.load();
    const std::uint64_t end = monotonic_ns() + kDeadline_ns;
    while ((numbers.on_wire < sent_ || received_ < numbers.arrived || unreaped_ > 0) && monotonic_ns() < end) {
      unreaped_ -= Model::reap(*guest_);
      while (Model::receive(*guest_))
        ++received_;
    }
    ASSERT_EQ(numbers.on_wire, sent_);
    ASSERT_EQ(received_, numbers.arrived);
    ASSERT_EQ(unreaped_, 0u);
  }

  /// The pages in which the destination's memory is another than the source's were when both have stopped. `forgets`:
  /// what the card says it has written there is not copied. The VM goes on at the destination if there are none.
  std::vector<std::size_t> move(const Place* forgets = nullptr) {
    auto next = std::make_unique<TheDaemon>(Model::options());
    auto next_client = next->connect();
    auto next_memory = make_memfd("fake-guest", Model::Guest::kMemory);
    VMUX_ASSERT(next_memory.has_value());
    auto copy = Mapping::create(next_memory->get(), 0, Model::Guest::kMemory, true);
    VMUX_ASSERT(copy.has_value());

    std::vector<std::size_t> differ;
    {
      CpuLog cpu{guest_->memory()};
      DmaLog dma{*client_, Model::Guest::kMemory};
      EXPECT_TRUE(dma.start());
      copy_pages(copy->bytes(), Pages(kPages, true));
      EXPECT_TRUE(client_->set_migration_state(MigrationState::pre_copy));
      EXPECT_TRUE(next_client->set_migration_state(MigrationState::resuming));
      EXPECT_TRUE(move_stream(*client_, *next_client));
      const auto copy_dirty = [&] {
        copy_pages(copy->bytes(), cpu.take());
        Pages pages = dma.take();
        for (std::size_t page = 0; page < kPages; ++page) {
          if (!pages[page]) continue;
          EXPECT_TRUE(can_be_written<Model>(page)) << "page " << page << " is marked, and is none of the card's";
          pages[page] = forgets == nullptr || !is_in({*forgets}, page);
        }
        copy_pages(copy->bytes(), pages);
      };
      for (unsigned round = 0; round < 3; ++round) {
        run_for_a_lap();
        copy_dirty();
      }
      if (forgets == nullptr) {
        for (unsigned i = 0; i < 5; ++i)
          step();
      } else {
        let_the_card_be_the_last(copy_dirty);
      }
      EXPECT_TRUE(client_->set_migration_state(MigrationState::stop_copy));
      copy_dirty();
      const std::span<const std::byte> here = guest_->memory(), there = copy->bytes();
      for (std::size_t page = 0; page < kPages; ++page) {
        const std::size_t at = page * CpuLog::kPage;
        if (std::memcmp(&here[at], &there[at], CpuLog::kPage) != 0) differ.push_back(page);
      }
    }
    if (!differ.empty()) return differ;
    EXPECT_TRUE(move_stream(*client_, *next_client));
    daemon_->unplug();
    guest_->move_to(fake_guest::Card{std::make_unique<ClientWay>(*next_client)}, std::move(*next_memory));
    EXPECT_TRUE(next_client->set_migration_state(MigrationState::running));
    client_ = std::move(next_client);
    daemon_ = std::move(next);
    daemon_->plug_in(numbers);
    return differ;
  }

  [[nodiscard]] typename Model::Guest& guest() noexcept { return *guest_; }
  [[nodiscard]] vfio_user::Client& client() noexcept { return *client_; }
  [[nodiscard]] TheDaemon& daemon() noexcept { return *daemon_; }
  void send(unsigned count) {
    for (; count > 0; --count, ++unreaped_)
      Model::queue(*guest_, numbered(sent_++));
    Model::ring(*guest_);
  }
  [[nodiscard]] unsigned sent() const noexcept { return sent_; }

  Numbers numbers;

 private:
  /// The processor has written all that it will when `copied` is called, and the card then writes everywhere.
  template <class F>
  void let_the_card_be_the_last(F&& copied) {
    numbers.is_held = true;
    daemon_->poller().call([] {});  // behind a round that was under way
    look();
    for (unsigned count = 5; count > 0 && unreaped_ < kRing - 1; --count, ++unreaped_)
      Model::queue(*guest_, numbered(sent_++));
    Model::ring(*guest_);
    Model::ask(*guest_);
    copied();
    Model::ring_ask(*guest_);
    numbers.allowed = numbers.arrived + 30;
    numbers.is_held = false;
    const std::uint64_t end = monotonic_ns() + kDeadline_ns;
    while ((numbers.on_wire < sent_ || numbers.arrived < numbers.allowed) && monotonic_ns() < end)
      std::this_thread::yield();
    daemon_->poller().call([] {});
  }
  void copy_pages(std::span<std::byte> into, const Pages& pages) {
    for (std::size_t page = 0; page < pages.size(); ++page) {
      if (!pages[page]) continue;
      const std::size_t at = page * CpuLog::kPage;
      std::memcpy(&into[at], &guest_->memory()[at], CpuLog::kPage);
    }
  }
  std::unique_ptr<TheDaemon> daemon_;
  std::unique_ptr<vfio_user::Client> client_;
  std::unique_ptr<typename Model::Guest> guest_;
  unsigned steps_ = 0, sent_ = 0, unreaped_ = 0, received_ = 0;
};

template <class Model>
class Migration : public testing::Test {};
using Models = testing::Types<E1000Model<device::e1000::Doorbell::trap>, E1000Model<device::e1000::Doorbell::poll>,
                              IavfModel, E810Model, VirtioModel<true>, VirtioModel<false>>;
struct Names {
  template <class Model>
  static std::string GetName(int index) {
    constexpr std::array kNames{"E1000", "E1000Mapped", "Iavf", "E810", "VirtioPacked", "VirtioSplit"};
    return kNames.at(static_cast<std::size_t>(index));
  }
};
TYPED_TEST_SUITE(Migration, Models, Names);

TYPED_TEST(Migration, UnderTrafficLosesNothingAndRepeatsNothing) {
  Vm<TypeParam> vm;
  vm.run_for_a_lap();
  for (unsigned moves = 0; moves < 3; ++moves) {
    const auto differ = vm.move();
    ASSERT_TRUE(differ.empty()) << "page " << differ.front() << " of " << differ.size() << " was not marked";
    ASSERT_NO_FATAL_FAILURE(vm.run_for_a_lap());
  }
  vm.come_to_rest();
  EXPECT_FALSE(vm.numbers.is_wrong);
}

// What a card that skips one kind of mark would leave behind.
TYPED_TEST(Migration, MarkThatIsMissingIsFound) {
  for (const Place& place : TypeParam::places()) {
    Vm<TypeParam> vm;
    vm.run_for_a_lap();
    const auto differ = vm.move(&place);
    EXPECT_FALSE(differ.empty()) << place.what;
    for (const std::size_t page : differ)
      EXPECT_TRUE(is_in({place}, page)) << place.what << ": page " << page;
  }
}

TYPED_TEST(Migration, PagesThatAreMarkedAreThoseThatChange) {
  Vm<TypeParam> vm;
  vm.run_for_a_lap();
  vm.come_to_rest();
  DmaLog dma{vm.client(), TypeParam::Guest::kMemory};
  ASSERT_TRUE(dma.start());
  const Bytes before{vm.guest().memory().begin(), vm.guest().memory().end()};
  CpuLog cpu{vm.guest().memory()};
  vm.send(5);
  vm.numbers.allowed = vm.numbers.arrived + 20;
  const std::uint64_t end = monotonic_ns() + kDeadline_ns;
  while ((vm.numbers.arrived < vm.numbers.allowed || vm.numbers.on_wire < vm.sent()) && monotonic_ns() < end)
    std::this_thread::yield();
  vm.daemon().unplug();  // behind the last round
  const Pages by_card = dma.take(), by_cpu = cpu.take();
  for (std::size_t page = 0; page < by_card.size(); ++page) {
    if constexpr (requires { TypeParam::maybe(); }) {
      if (is_in(TypeParam::maybe(), page)) continue;
    }
    const std::size_t at = page * CpuLog::kPage;
    const bool is_changed = std::memcmp(&before[at], &vm.guest().memory()[at], CpuLog::kPage) != 0;
    EXPECT_TRUE(!is_changed || by_card[page] || by_cpu[page]) << "page " << page << " was not marked";
    EXPECT_TRUE(is_changed || !by_card[page] || by_cpu[page]) << "page " << page << " was marked for nothing";
    EXPECT_TRUE(!by_card[page] || can_be_written<TypeParam>(page)) << "page " << page;
  }
  EXPECT_EQ(dma.take(), Pages(by_card.size()));
  EXPECT_TRUE(dma.stop());
}

TYPED_TEST(Migration, ThatIsGivenUpIsNoticedByNobodyAndSucceedsLater) {
  Vm<TypeParam> vm;
  vm.run_for_a_lap();
  Daemon<typename TypeParam::Card> other{TypeParam::options()};
  const auto destination = other.connect();
  // The states at which a VMM gives up: while the guest runs, and when it has stopped.
  for (const MigrationState last : {MigrationState::pre_copy, MigrationState::stop_copy, MigrationState::running_p2p}) {
    DmaLog dma{vm.client(), TypeParam::Guest::kMemory};
    ASSERT_TRUE(dma.start());
    ASSERT_TRUE(vm.client().set_migration_state(MigrationState::pre_copy));
    ASSERT_TRUE(destination->set_migration_state(MigrationState::resuming));
    ASSERT_TRUE(move_stream(vm.client(), *destination));
    vm.run_for_a_lap();
    ASSERT_TRUE(vm.client().set_migration_state(last));
    ASSERT_TRUE(vm.client().set_migration_state(MigrationState::running));
    ASSERT_TRUE(dma.stop());
    ASSERT_FALSE(destination->set_migration_state(MigrationState::stop));  // it has nothing to run with
    ASSERT_TRUE(destination->reset());
    vm.run_for_a_lap();
  }
  EXPECT_TRUE(vm.move().empty());
  vm.run_for_a_lap();
  vm.come_to_rest();
}

TYPED_TEST(Migration, ToACardWithAnotherAddressIsRefusedBeforeTheGuestStops) {
  Vm<TypeParam> vm;
  auto options = TypeParam::options();
  options.mac[5] ^= 1;
  Daemon<typename TypeParam::Card> other{options};
  const auto destination = other.connect();
  ASSERT_TRUE(vm.client().set_migration_state(MigrationState::pre_copy));
  ASSERT_TRUE(destination->set_migration_state(MigrationState::resuming));
  EXPECT_FALSE(move_stream(vm.client(), *destination));
  ASSERT_TRUE(vm.client().set_migration_state(MigrationState::running));
  vm.run_for_a_lap();
}

// A device that has no use of memory: its registers are all there is.
TEST(MigrationOfAGpioCard, TakesItsRegistersAlong) {
  struct Side {
    explicit Side(const char* name) : path(std::filesystem::temp_directory_path() / (std::string{name} + "-gpio")) {
      card = std::move(*device::gpio_idio16::Device::create());
      vfio_user::ServerOptions options;
      options.path = path;
      server = std::move(*vfio_user::Server::create(*poller, card->function(), options));
      VMUX_ASSERT(poller->start().has_value());
      client = std::move(*vfio_user::Client::connect(path));
    }
    ~Side() {
      poller->stop();
      poller->join();
    }
    [[nodiscard]] unsigned read(std::uint64_t at) {
      std::array<std::byte, 1> byte{};
      EXPECT_TRUE(client->read(pci::Region::bar2, {at}, byte));
      return std::to_integer<unsigned>(byte[0]);
    }
    std::string path;
    std::unique_ptr<runtime::Poller> poller = std::move(*runtime::Poller::create());
    std::unique_ptr<device::gpio_idio16::Device> card;
    std::unique_ptr<vfio_user::Server> server;
    std::unique_ptr<vfio_user::Client> client;
  };
  const std::string process = "vmux-migration-" + std::to_string(::getpid());
  Side source{(process + "-a").c_str()}, target{(process + "-b").c_str()};
  ASSERT_TRUE(source.client->write(pci::Region::bar2, {0}, std::array{std::byte{0x5a}}));
  ASSERT_EQ(source.read(0), 0x5au);
  for (unsigned i = 0; i < 4; ++i)
    static_cast<void>(source.read(1));
  ASSERT_TRUE(source.client->set_migration_state(MigrationState::pre_copy));
  ASSERT_TRUE(target.client->set_migration_state(MigrationState::resuming));
  ASSERT_TRUE(move_stream(*source.client, *target.client, 7));
  ASSERT_TRUE(source.client->set_migration_state(MigrationState::stop_copy));
  ASSERT_TRUE(move_stream(*source.client, *target.client, 7));
  ASSERT_TRUE(target.client->set_migration_state(MigrationState::running));
  EXPECT_EQ(target.read(0), 0x5au);
  for (unsigned i = 0; i < 12; ++i) {  // its inputs toggle with the number of reads
    EXPECT_EQ(target.read(1), source.read(1)) << i;
  }
}

}  // namespace
}  // namespace vmux::rigs
