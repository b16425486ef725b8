// SPDX-License-Identifier: BSD-3-Clause
// Starts two servers of the test function and then itself once more with the interposer before it: each run of the test
// program has servers of its own.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

namespace {

pid_t start_server(const std::string& socket, const char* option) {
  int ready[2];
  if (pipe(ready) != 0) return -1;
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(ready[1], STDOUT_FILENO);
    execl(PROBE_SERVER, PROBE_SERVER, socket.c_str(), option, nullptr);
    _exit(127);
  }
  close(ready[1]);
  char byte = 0;
  const bool is_up = read(ready[0], &byte, 1) == 1;
  close(ready[0]);
  return is_up ? pid : -1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<char*> arguments(argv, argv + argc + 1);
  ::testing::InitGoogleTest(&argc, argv);
  if (getenv("VMUX_VFIO_DEVICES") != nullptr || GTEST_FLAG_GET(list_tests)) return RUN_ALL_TESTS();
  std::string directory = "/tmp/preload-test-XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) return 1;
  const std::string a = directory + "/a.sock", b = directory + "/b.sock";
  const pid_t servers[2] = {start_server(a, nullptr), start_server(b, "no-message-dma")};
  const pid_t program = fork();
  if (program == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setenv("VMUX_VFIO_DEVICES",
           ("0000:40:00.0=" + a + ",0000:40:00.1=" + b + ",0000:40:00.2=" + directory + "/none").c_str(), 1);
    setenv("VMUX_VFIO_DIR", directory.c_str(), 1);
    setenv("LD_PRELOAD", INTERPOSER, 1);
    setenv("PROBE_SERVER_PID", std::to_string(servers[0]).c_str(), 1);
    execv("/proc/self/exe", arguments.data());
    _exit(127);
  }
  int status = 1;
  waitpid(program, &status, 0);
  // What it made for the program must be gone with it.
  bool is_clean = true;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() == ".sock") continue;
    fprintf(stderr, "left behind: %s\n", entry.path().c_str());
    is_clean = false;
  }
  for (const pid_t server : servers) {
    if (server <= 0) continue;
    kill(server, SIGKILL);
    waitpid(server, nullptr, 0);
  }
  std::filesystem::remove_all(directory);
  return WIFEXITED(status) && is_clean ? WEXITSTATUS(status) : 1;
}
