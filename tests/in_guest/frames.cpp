// SPDX-License-Identifier: BSD-3-Clause
// Sends frames with virtio-net headers by one interface (PACKET_VNET_HDR, packet(7)), so that checksums and cutting are
// left to the stack and the card as a guest's own traffic leaves them; and tells what came in by another.
//
//     frames exchange OFFSET COUNT NAMESPACE INTERFACE MILLISECONDS INTERFACE... <TABLE >HEARD
//     frames hear INTERFACE COUNT MILLISECONDS >HEARD       "ready" on standard error, when it hears
//
// TABLE holds records from OFFSET on: a length and the number of the one of the last INTERFACEs to send by (32 bits
// each), a virtio-net header (10 bytes) and a frame, which are what the length counts. COUNT of them are markers
// (EtherType 88b5): each is waited for at the other side, the first INTERFACE, in NAMESPACE (a file in /run/netns),
// before the next record's turn. HEARD gets records as well: length and status (TP_STATUS_*), and a frame, with the tag
// that the card or the stack took off it put back; a frame that could not be sent is a record of length 0 with the
// error in place of a status. It ends with the last marker, or when nothing has come for so long. Exit status: 0, or
// the number of the step that failed.
#include "standalone.hpp"

namespace {

constexpr U16 kMarker = 0x88b5, kEveryType = 0x0003;  // IEEE 802 local experimental; ETH_P_ALL
constexpr long kSolPacket = 263, kAuxdata = 8, kVnetHeader = 15, kIgnoreOutgoing = 23;
constexpr long kInterfaceIndex = 0x8933, kNewNet = 0x40000000, kReadable = 1;
constexpr U32 kVlanValid = 1 << 4, kTpidValid = 1 << 6;

struct Link {  // struct sockaddr_ll
  U16 family, protocol;
  int index;
  U16 type;
  U8 packet, length, address[8];
};

struct Auxdata {  // struct tpacket_auxdata
  U32 status, length, captured;
  U16 mac, net, tci, tpid;
};

struct Control {  // struct cmsghdr and its data
  U64 length;
  int level, type;
  Auxdata aux;
};

struct Vector {
  void* base;
  U64 length;
};

struct Message {  // struct msghdr
  void* name;
  U32 name_length;
  Vector* vectors;
  U64 vector_count;
  void* control;
  U64 control_length;
  int flags;
};

struct Poll {
  int file;
  short events, got;
};

struct Record {
  U32 length, status;  // of one to send: by which interface
};

U8 bytes[1 << 18];

void set(long socket, long level, long option, int value) {
  must(11, call(kSetsockopt, socket, level, option, at(&value), sizeof value));
}

long on(const char* interface, U16 protocol) {
  const long socket = must(12, call(kSocket, kPacket, kRaw, 0));
  struct {
    char name[16];
    int index;
    char rest[20];
  } request{};
  for (U64 i = 0; i < 15 && interface[i] != 0; ++i)
    request.name[i] = interface[i];
  must(13, call(kIoctl, socket, kInterfaceIndex, at(&request)));
  const Link link{kPacket, big_endian(protocol), request.index, 0, 0, 0, {}};
  set(socket, kSolSocket, protocol != 0 ? kReceiveBufferForce : kSendBufferForce, 8 << 20);
  if (protocol != 0) {
    set(socket, kSolPacket, kAuxdata, 1);
    set(socket, kSolPacket, kIgnoreOutgoing, 1);
  } else {
    set(socket, kSolPacket, kVnetHeader, 1);
  }
  must(14, call(kBind, socket, at(&link), sizeof link));
  return socket;
}

bool is_marker(const U8* frame, U64 length) { return length >= 14 && (frame[12] << 8 | frame[13]) == kMarker; }

// The record at `offset`, which is moved to the next one; whether it was a marker.
bool send_one(const long* sockets, U64 count, U64& offset) {
  constexpr U64 kVirtioHeader = 10;
  Record record{};
  if (call(kPread, 0, at(&record), sizeof record, static_cast<long>(offset)) != sizeof record) leave(21);
  if (record.length < kVirtioHeader || record.length > sizeof bytes || record.status >= count) leave(22);
  if (call(kPread, 0, at(bytes), record.length, static_cast<long>(offset + sizeof record)) != record.length) leave(23);
  const long sent = call(kWrite, sockets[record.status], at(bytes), record.length);
  if (sent < 0) {
    const Record error{0, static_cast<U32>(-sent)};
    write_all(1, &error, sizeof error);
  }
  offset += sizeof record + record.length;
  return is_marker(bytes + kVirtioHeader, record.length - kVirtioHeader);
}

// Gives the next frame to standard output; whether it was the marker. False as well when nothing came.
bool hear_one(long socket, long milliseconds, bool& has_come) {
  Poll poll{static_cast<int>(socket), kReadable, 0};
  has_come = must(31, call(kPoll, at(&poll), 1, milliseconds)) > 0;
  if (!has_come) return false;
  constexpr U64 kRoom = 4;  // for a tag, in front
  Control control{};
  Vector vector{bytes + kRoom, sizeof bytes - kRoom};
  Message message{nullptr, 0, &vector, 1, &control, sizeof control, 0};
  U64 length = static_cast<U64>(must(32, call(kRecvmsg, socket, at(&message))));
  U8* frame = bytes + kRoom;
  const Auxdata& aux = control.aux;
  if ((aux.status & kVlanValid) != 0) {
    frame -= kRoom;
    for (U64 i = 0; i < 12; ++i)
      frame[i] = frame[i + kRoom];
    const U16 tpid = (aux.status & kTpidValid) != 0 ? aux.tpid : 0x8100;
    frame[12] = static_cast<U8>(tpid >> 8), frame[13] = static_cast<U8>(tpid);
    frame[14] = static_cast<U8>(aux.tci >> 8), frame[15] = static_cast<U8>(aux.tci);
    length += kRoom;
  }
  const Record heard{static_cast<U32>(length), aux.status};
  write_all(1, &heard, sizeof heard);
  write_all(1, frame, length);
  return is_marker(frame, length);
}

// Whether so many markers came.
bool hear(long socket, U64 markers, long milliseconds) {
  for (bool has_come = true; markers > 0 && has_come;)
    markers -= hear_one(socket, milliseconds, has_come) ? 1 : 0;
  return markers == 0;
}

void exchange(const char* const* argv, long argc) {
  long out[8];
  const U64 interfaces = static_cast<U64>(argc - 7);
  if (interfaces > 8) leave(1);
  for (U64 i = 0; i < interfaces; ++i)
    out[i] = on(argv[7 + i], 0);
  const long elsewhere = must(2, call(kOpen, at(argv[4])));
  must(3, call(kSetns, elsewhere, kNewNet));
  const long in = on(argv[5], kEveryType);
  U64 offset = number_of(argv[2]), markers = number_of(argv[3]);
  const long milliseconds = static_cast<long>(number_of(argv[6]));
  for (bool goes_on = true; markers > 0 && goes_on;) {
    if (!send_one(out, interfaces, offset)) continue;
    goes_on = hear(in, 1, milliseconds);
    --markers;
  }
}

}  // namespace

void run(long argc, const char* const* argv) {
  if (argc >= 8 && argv[1][0] == 'e') {
    exchange(argv, argc);
  } else if (argc == 5 && argv[1][0] == 'h') {
    const long in = on(argv[2], kEveryType);
    write_all(2, "ready\n", 6);
    hear(in, number_of(argv[3]), static_cast<long>(number_of(argv[4])));
  } else {
    leave(1);
  }
  leave(0);
}
