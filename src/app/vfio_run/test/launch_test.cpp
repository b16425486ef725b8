// SPDX-License-Identifier: BSD-3-Clause
#include "app/vfio_run/launch.hpp"

#include <elf.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace vmux::app {
namespace {

/// What makes a library of 64 bits (ELF-64, "File Header") with the interposer's variable in it.
std::string library_content() {
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  return std::string{reinterpret_cast<const char*>(&header), sizeof header} + "VMUX_VFIO_DEVICES";
}

class Launch : public ::testing::Test {
 protected:
  LaunchOptions options_for(const std::string& device, const std::string& program) {
    LaunchOptions options;
    options.devices = {device};
    options.command = {program};
    options.library = library_;
    return options;
  }
  void SetUp() override {
    ASSERT_NE(mkdtemp(directory_.data()), nullptr);
    library_ = directory_ + "/lib.so";
    std::ofstream{library_, std::ios::binary} << library_content();
    socket_ = directory_ + "/x.sock";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, socket_.c_str(), sizeof address.sun_path - 1);
    listener_ = ::socket(AF_UNIX, SOCK_STREAM, 0);
    ASSERT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  void TearDown() override {
    ::close(listener_);
    ::unlink(socket_.c_str());
    ::unlink(library_.c_str());
    ::rmdir(directory_.c_str());
  }
  std::string directory_ = "/tmp/vfio-run-test-XXXXXX", socket_, library_;
  int listener_ = -1;
};

TEST_F(Launch, KeepsWhatIsAbsoluteAndFindsTheProgram) {
  const auto ready = prepare(options_for("40:00.0=" + socket_, "sh"), "");
  ASSERT_TRUE(ready) << ready.error().sentence;
  EXPECT_EQ(ready->devices, std::vector<std::string>{"40:00.0=" + socket_});
  EXPECT_EQ(ready->library, library_);
  EXPECT_EQ(ready->command, std::vector<std::string>{"sh"}) << "a program sees the name that it was called by";
}

TEST_F(Launch, TakesRelativePathsFromWhereItWasStarted) {
  LaunchOptions options = options_for("40:00.0=x.sock", "sh");
  options.library = "lib.so";
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(directory_);
  const auto ready = prepare(options, "");
  std::filesystem::current_path(before);
  ASSERT_TRUE(ready) << ready.error().sentence;
  EXPECT_EQ(ready->devices, std::vector<std::string>{"40:00.0=" + socket_});
  EXPECT_EQ(ready->library, library_);
}

struct ObstacleRow {
  std::vector<std::string> devices;  ///< DIR stands for the directory with the socket
  const char* program;
  int status;
  const char* sentence;
};
class LaunchObstacle : public Launch, public ::testing::WithParamInterface<ObstacleRow> {};
TEST_P(LaunchObstacle, HasItsStatusAndIsNamed) {
  LaunchOptions options = options_for("", GetParam().program);
  options.devices.clear();
  for (std::string device : GetParam().devices) {
    if (const std::size_t at = device.find("DIR"); at != std::string::npos) device.replace(at, 3, directory_);
    options.devices.push_back(device);
  }
  const auto ready = prepare(options, "");
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().status, GetParam().status);
  EXPECT_NE(ready.error().sentence.find(GetParam().sentence), std::string::npos) << ready.error().sentence;
}
INSTANTIATE_TEST_SUITE_P(
    Rows, LaunchObstacle,
    ::testing::Values(ObstacleRow{{"40:00.0"}, "sh", 2, "a device is written BDF=SOCKET"},
                      ObstacleRow{{"40:00.0="}, "sh", 2, "a device is written BDF=SOCKET"},
                      ObstacleRow{{"40:00=DIR/x.sock"}, "sh", 2, "not a PCI address"},
                      ObstacleRow{{"40:00.9=DIR/x.sock"}, "sh", 2, "not a PCI address"},
                      ObstacleRow{{"40:00.0=DIR/x.sock", "0000:40:00.0=DIR/x.sock"}, "sh", 2, "given twice"},
                      ObstacleRow{{"40:00.0=DIR/a,b"}, "sh", 2, "a comma cannot be part of it"},
                      ObstacleRow{{"40:00.0=DIR/y.sock"}, "sh", 1, "No such file"},
                      ObstacleRow{{"40:00.0=DIR"}, "sh", 1, "this is no socket"},
                      ObstacleRow{{"40:00.0=DIR/a-very-long-name-that-is-no-longer-one-that-an-address-of-a-socket-has-"
                                   "room-for-by-any-means-at-all"},
                                  "sh",
                                  1,
                                  "107 bytes at most"},
                      ObstacleRow{{"40:00.0=DIR/x.sock"}, "no-such-program-here", 127, "not found"},
                      ObstacleRow{{"40:00.0=DIR/x.sock"}, "/no/such/program", 127, "not found"},
                      ObstacleRow{{"40:00.0=DIR/x.sock"}, "", 127, "not found"},
                      ObstacleRow{{"40:00.0=DIR/x.sock"}, "/etc/passwd", 126, "no program that may be run"},
                      ObstacleRow{{"40:00.0=DIR/x.sock"}, "/tmp", 126, "no program that may be run"},
                      ObstacleRow{{"40:00.0=DIR/x.sock"}, "/bin/busybox", 1, "statically"}));

TEST_F(Launch, RefusesALibraryThatIsNone) {
  LaunchOptions options = options_for("40:00.0=" + socket_, "sh");
  for (const char* library : {"/etc/passwd", "/bin/sh", "/proc/self/exe"}) {  // the last has the variable's name in it
    options.library = library;
    const auto ready = prepare(options, "");
    ASSERT_FALSE(ready) << library;
    EXPECT_EQ(ready.error().status, 1);
    EXPECT_NE(ready.error().sentence.find("this is no libvmux-vfio.so"), std::string::npos) << ready.error().sentence;
  }
}

TEST_F(Launch, RefusesALibraryThatTheLoaderCannotBeTold) {
  LaunchOptions options = options_for("40:00.0=" + socket_, "sh");
  options.library = directory_ + "/a b.so";
  std::filesystem::copy_file(library_, options.library);
  const auto blank = prepare(options, "");
  std::filesystem::remove(options.library);
  ASSERT_FALSE(blank);
  EXPECT_NE(blank.error().sentence.find("neither a blank nor a colon"), std::string::npos);
  EXPECT_NE(prepare(options, "").error().sentence.find("No such file"), std::string::npos);
  options.library.clear();
  EXPECT_NE(prepare(options, directory_).error().sentence.find("name it with --library"), std::string::npos);
}

TEST_F(Launch, RefusesAProgramOf32Bits) {
  const std::string program = directory_ + "/old";
  std::ofstream{program, std::ios::binary} << std::string{"\x7f"} + "ELF\x01\x01\x01" + std::string(60, '\0');
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  const auto ready = prepare(options_for("40:00.0=" + socket_, program), "");
  std::filesystem::remove(program);
  ASSERT_FALSE(ready);
  EXPECT_NE(ready.error().sentence.find("of 32 bits"), std::string::npos) << ready.error().sentence;
}

TEST_F(Launch, PutsLibraryBeforeOthers) {
  setenv("LD_PRELOAD", "other.so", 1);
  set_environment(options_for("40:00.0=" + socket_, "/bin/sh"));
  const std::string preload = std::getenv("LD_PRELOAD");
  unsetenv("LD_PRELOAD");
  EXPECT_EQ(preload, library_ + ":other.so");
  EXPECT_STREQ(std::getenv("VMUX_VFIO_DEVICES"), ("40:00.0=" + socket_).c_str());
  unsetenv("VMUX_VFIO_DEVICES");
}

}  // namespace
}  // namespace vmux::app
