// SPDX-License-Identifier: BSD-3-Clause
#include "app/vfio_run/launch.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace vmux::app {
namespace {

LaunchOptions options_for(const std::string& device, const std::string& program) {
  LaunchOptions options;
  options.devices = {device};
  options.command = {program};
  return options;
}

class Launch : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(mkdtemp(directory_.data()), nullptr);
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
    ::rmdir(directory_.c_str());
  }
  std::string directory_ = "/tmp/vfio-run-test-XXXXXX", socket_;
  int listener_ = -1;
};

TEST_F(Launch, FindsNothingWrongWithSocketAndDynamicProgram) {
  EXPECT_EQ(problem_with(options_for("40:00.0=" + socket_, "/bin/sh")), "");
}
TEST_F(Launch, NamesBadAddress) {
  EXPECT_NE(problem_with(options_for("40:00=" + socket_, "/bin/sh")).find("not a PCI address"), std::string::npos);
}
TEST_F(Launch, NamesMissingSocket) {
  EXPECT_NE(problem_with(options_for("40:00.0=" + directory_ + "/y.sock", "/bin/sh")).find("no socket"),
            std::string::npos);
}
TEST_F(Launch, NamesMissingProgram) {
  EXPECT_NE(problem_with(options_for("40:00.0=" + socket_, "no-such-program-here")).find("not found"),
            std::string::npos);
}
TEST_F(Launch, NamesStaticProgram) {
  EXPECT_NE(problem_with(options_for("40:00.0=" + socket_, "/bin/busybox")).find("statically"), std::string::npos);
}
TEST_F(Launch, PutsLibraryBeforeOthers) {
  setenv("LD_PRELOAD", "other.so", 1);
  set_environment(options_for("40:00.0=" + socket_, "/bin/sh"), "/x/libvmux-vfio.so");
  const std::string preload = std::getenv("LD_PRELOAD");
  unsetenv("LD_PRELOAD");
  EXPECT_EQ(preload, "/x/libvmux-vfio.so:other.so");
  EXPECT_STREQ(std::getenv("VMUX_VFIO_DEVICES"), ("40:00.0=" + socket_).c_str());
  unsetenv("VMUX_VFIO_DEVICES");
}

}  // namespace
}  // namespace vmux::app
