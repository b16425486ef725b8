// SPDX-License-Identifier: BSD-3-Clause
// Runs commands for the host, one at a time, over the virtio-serial port "vmux.agent".
//   host:  TOKEN SECONDS LENGTH \n and the LENGTH bytes of a shell command
//   guest: the command's output as it comes, then \n TOKEN STATUS \n    (the host makes TOKEN up, so no output can
//   imitate it)
// After boot the guest says once: HELLO BOOT-ID \n
// A program and not a script: what a shell needs five processes for is, in an emulated guest, most of what a command
// costs.
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST = 120 * 1024 };  // of what a program may be given in one argument (MAX_ARG_STRLEN)

static void read_first_line(const char* path, char* line, int size) {
  FILE* file = fopen(path, "r");
  if (file == NULL || fgets(line, size, file) == NULL) line[0] = 0;
  if (file != NULL) fclose(file);
  line[strcspn(line, "\n")] = 0;
}

static int open_port(void) {
  glob_t found;
  int port = -1;
  if (glob("/sys/class/virtio-ports/*/name", 0, NULL, &found) != 0) return -1;
  for (size_t i = 0; i < found.gl_pathc && port < 0; i++) {
    char name[64], path[64];
    read_first_line(found.gl_pathv[i], name, sizeof name);
    if (strcmp(name, "vmux.agent") != 0) continue;
    snprintf(path, sizeof path, "/dev/%s", strtok(found.gl_pathv[i] + strlen("/sys/class/virtio-ports/"), "/"));
    port = open(path, O_RDWR | O_CLOEXEC);
  }
  globfree(&found);
  return port;
}

static void say(int port, const char* text) {
  size_t left = strlen(text);
  while (left > 0) {
    ssize_t done = write(port, text, left);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) exit(1);
    text += done, left -= (size_t)done;
  }
}

static int start(int port, char* command) {
  int child = fork();
  if (child != 0) return child;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setpgid(0, 0);
  dup2(open("/dev/null", O_RDONLY), 0);
  dup2(port, 1);
  dup2(port, 2);
  execl("/bin/sh", "sh", "-c", command, (char*)NULL);
  _exit(127);
}

// As a shell counts it. What outlives its time is killed, with all that it has started and not sent away.
static int outcome(int child, long seconds) {
  struct timespec now, end;
  sigset_t ended;
  int status;
  sigemptyset(&ended);
  sigaddset(&ended, SIGCHLD);
  clock_gettime(CLOCK_MONOTONIC, &end);
  end.tv_sec += seconds;
  while (waitpid(child, &status, WNOHANG) == 0) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec > end.tv_sec) kill(-child, SIGKILL);
    sigtimedwait(&ended, NULL, &(struct timespec){.tv_sec = 1});
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int main(void) {
  static char command[LONGEST + 1];
  char token[64], line[128], boot[64];
  long seconds, length;
  sigset_t ended;
  sigemptyset(&ended);
  sigaddset(&ended, SIGCHLD);
  sigprocmask(SIG_BLOCK, &ended, NULL);  // so that sigtimedwait() finds it
  int port = open_port();
  FILE* host = port < 0 ? NULL : fdopen(dup(port), "r");
  if (host == NULL) return 1;
  fcntl(fileno(host), F_SETFD, FD_CLOEXEC);
  read_first_line("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
  snprintf(line, sizeof line, "HELLO %s\n", boot);
  say(port, line);
  while (fgets(line, sizeof line, host) != NULL && sscanf(line, "%63s %ld %ld", token, &seconds, &length) == 3) {
    if (length < 0 || length > LONGEST || fread(command, 1, (size_t)length, host) != (size_t)length) return 1;
    command[length] = 0;
    int status = outcome(start(port, command), seconds);
    snprintf(line, sizeof line, "\n%s %d\n", token, status);
    say(port, line);
  }
  return 1;
}
