// SPDX-License-Identifier: BSD-3-Clause
// Sends standard input as one UDP super-frame, which the kernel, or a card that can, cuts into datagrams (UDP_SEGMENT,
// udp(7)); or receives datagrams. For x86-64 Linux guests; stands alone, without a C library.
//
//     udp-segments A.B.C.D PORT BYTES-OF-A-SEGMENT <FILE
//     udp-segments PORT BYTES >FILE                          ends when so many bytes have come
// Exit status: 0, or the number of the step that failed.
extern "C" {

long call(long number, long a, long b, long c, long d, long e) {
  long result = 0;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
               : "rcx", "r11", "memory");
  return result;
}

// System calls (arch/x86/entry/syscalls/syscall_64.tbl) and constants of sockets (asm-generic, linux/udp.h).
constexpr long kRead = 0, kWrite = 1, kSocket = 41, kConnect = 42, kBind = 49, kSetsockopt = 54, kExit = 60;
constexpr long kInet = 2, kDatagram = 2, kSolUdp = 17, kUdpSegment = 103;

[[noreturn]] void leave(long status) {
  for (;;)
    call(kExit, status, 0, 0, 0, 0);
}

long at(const void* pointer) { return reinterpret_cast<long>(pointer); }

unsigned number(const char*& text) {
  unsigned value = 0;
  while (*text >= '0' && *text <= '9')
    value = value * 10 + static_cast<unsigned>(*text++ - '0');
  if (*text == '.') ++text;
  return value;
}

struct Address {
  unsigned short family;
  unsigned char port[2], ip[4], zero[8];
};

Address any(const char* port) {
  const unsigned value = number(port);
  return {kInet, {static_cast<unsigned char>(value >> 8), static_cast<unsigned char>(value)}, {}, {}};
}

char bytes[65536];

void send(long socket, const char* ip, const char* port, const char* segment) {
  Address to = any(port);
  for (unsigned char& part : to.ip)
    part = static_cast<unsigned char>(number(ip));
  const int size = static_cast<int>(number(segment));
  if (call(kSetsockopt, socket, kSolUdp, kUdpSegment, at(&size), sizeof size) != 0) leave(3);
  if (call(kConnect, socket, at(&to), sizeof to, 0, 0) != 0) leave(4);
  long length = 0, got = 0;
  while ((got = call(kRead, 0, at(bytes + length), static_cast<long>(sizeof bytes) - length, 0, 0)) > 0)
    length += got;
  if (call(kWrite, socket, at(bytes), length, 0, 0) != length) leave(5);
}

void receive(long socket, const char* port, const char* wanted) {
  const Address here = any(port);
  if (call(kBind, socket, at(&here), sizeof here, 0, 0) != 0) leave(6);
  for (long left = number(wanted); left > 0;) {
    const long got = call(kRead, socket, at(bytes), sizeof bytes, 0, 0);
    if (got < 0 || call(kWrite, 1, at(bytes), got, 0, 0) != got) leave(7);
    left -= got;
  }
}

[[noreturn]] void run(long argc, const char* const* argv) {
  const long socket = call(kSocket, kInet, kDatagram, 0, 0, 0);
  if (socket < 0) leave(2);
  if (argc == 4) {
    send(socket, argv[1], argv[2], argv[3]);
  } else if (argc == 3) {
    receive(socket, argv[1], argv[2]);
  } else {
    leave(1);
  }
  leave(0);
}

// The kernel leaves the count of arguments and the arguments on the stack (System V ABI, 3.4.1).
asm(".globl _start\n"
    "_start: mov (%rsp), %rdi\n"
    "        lea 8(%rsp), %rsi\n"
    "        and $-16, %rsp\n"
    "        call run\n");
}
