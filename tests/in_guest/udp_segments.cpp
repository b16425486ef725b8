// SPDX-License-Identifier: BSD-3-Clause
// Sends standard input as one UDP super-frame, which the kernel, or a card that can, cuts into datagrams (UDP_SEGMENT,
// udp(7)); or receives datagrams.
//
//     udp-segments A.B.C.D PORT BYTES-OF-A-SEGMENT <FILE
//     udp-segments PORT BYTES >FILE                          ends when so many bytes have come
// Exit status: 0, or the number of the step that failed.
#include "standalone.hpp"

namespace {

constexpr long kSolUdp = 17, kUdpSegment = 103;

struct Address {
  U16 family;
  U8 port[2], ip[4], zero[8];
};

Address any(const char* port) {
  const U64 value = number_of(port);
  return {kInet, {static_cast<U8>(value >> 8), static_cast<U8>(value)}, {}, {}};
}

char bytes[65536];

void send(long socket, const char* ip, const char* port, const char* segment) {
  Address to = any(port);
  for (U8& part : to.ip)
    part = static_cast<U8>(number(ip));
  const int size = static_cast<int>(number_of(segment));
  must(3, call(kSetsockopt, socket, kSolUdp, kUdpSegment, at(&size), sizeof size));
  must(4, call(kConnect, socket, at(&to), sizeof to));
  long length = 0, got = 0;
  while ((got = call(kRead, 0, at(bytes + length), static_cast<long>(sizeof bytes) - length)) > 0)
    length += got;
  if (call(kWrite, socket, at(bytes), length) != length) leave(5);
}

void receive(long socket, const char* port, const char* wanted) {
  const Address here = any(port);
  must(6, call(kBind, socket, at(&here), sizeof here));
  for (long left = static_cast<long>(number_of(wanted)); left > 0;) {
    const long got = must(7, call(kRead, socket, at(bytes), sizeof bytes));
    write_all(1, bytes, static_cast<U64>(got));
    left -= got;
  }
}

}  // namespace

void run(long argc, const char* const* argv) {
  const long socket = must(2, call(kSocket, kInet, kDatagram));
  if (argc == 4) {
    send(socket, argv[1], argv[2], argv[3]);
  } else if (argc == 3) {
    receive(socket, argv[1], argv[2]);
  } else {
    leave(1);
  }
  leave(0);
}
