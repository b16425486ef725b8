// SPDX-License-Identifier: BSD-3-Clause
// Sends through an ordinary socket with options, as any user of the guest could.
//
//     sockets UID HOW ADDRESS PORT SIZE COUNT [LEVEL:OPTION:VALUE]...
//
// HOW: `stream` connects by TCP, writes COUNT times SIZE bytes, and waits until the other side has closed; `begin` only
// begins to connect; `datagram` sends COUNT datagrams by UDP. ADDRESS and VALUE are hexadecimal, in the order of their
// bytes in memory. The bytes sent are those of pattern(), counted from the first of all. Exit status: 0, or the number
// of the step that failed.
#include "standalone.hpp"

namespace {

constexpr long kWritable = 4, kInProgress = -115;

struct Poll {
  int file;
  short events, got;
};

struct Address {  // struct sockaddr_in and sockaddr_in6
  U16 family, port;
  U8 rest[24];
};

U8 bytes[1 << 16], value[1 << 12];

U8 pattern(U32 position) { return static_cast<U8>((position * 2654435761U) >> 24); }

U8 digit(char c) { return static_cast<U8>(c >= 'a' ? c - 'a' + 10 : c - '0'); }

U64 from_hex(const char* text, U8* to, U64 room) {
  U64 length = 0;
  for (; text[0] != 0 && text[1] != 0; text += 2) {
    if (length == room) leave(2);
    to[length++] = static_cast<U8>(digit(text[0]) << 4 | digit(text[1]));
  }
  return length;
}

void set_option(long socket, const char* text) {
  const U64 level = number(text);
  const U64 option = number(text);
  const U64 length = from_hex(text, value, sizeof value);
  must(4, call(kSetsockopt, socket, static_cast<long>(level), static_cast<long>(option), at(value),
               static_cast<long>(length)));
}

void begin(long socket, const Address& to) {
  const long result = call(kConnect, socket, at(&to), sizeof to);
  if (result < 0 && result != kInProgress) leave(5);
  Poll poll{static_cast<int>(socket), kWritable, 0};
  call(kPoll, at(&poll), 1, 100);
}

void write_pattern(long socket, U64 size, U64 count) {
  for (U32 position = 0; count > 0; --count) {
    for (U64 i = 0; i < size; ++i)
      bytes[i] = pattern(position++);
    write_all(socket, bytes, size);
  }
}

}  // namespace

void run(long argc, const char* const* argv) {
  if (argc < 7) leave(1);
  const long user = static_cast<long>(number_of(argv[1]));
  const char how = argv[2][0];
  Address to{};
  const U64 length = from_hex(argv[3], to.rest, 16);
  to.family = length == 4 ? kInet : kInet6;
  if (length == 16) {  // behind the flow label
    for (U64 i = 16; i-- > 0;)
      to.rest[i + 4] = to.rest[i];
    for (U64 i = 0; i < 4; ++i)
      to.rest[i] = 0;
  }
  to.port = big_endian(static_cast<U16>(number_of(argv[4])));
  const U64 size = number_of(argv[5]);
  if (size > sizeof bytes) leave(2);
  if (user != 0 && (call(kSetgid, user) != 0 || call(kSetuid, user) != 0)) leave(3);
  const long socket =
      must(4, call(kSocket, to.family, (how == 'd' ? kDatagram : kStream) | (how == 'b' ? kNonBlocking : 0)));
  for (long i = 7; i < argc; ++i)
    set_option(socket, argv[i]);
  if (how == 'b') {
    begin(socket, to);
    leave(0);
  }
  must(6, call(kConnect, socket, at(&to), sizeof to));
  write_pattern(socket, size, number_of(argv[6]));
  if (how == 's') {
    must(7, call(kShutdown, socket, 1));
    while (must(8, call(kRead, socket, at(bytes), sizeof bytes)) > 0) {
    }
  }
  leave(0);
}
