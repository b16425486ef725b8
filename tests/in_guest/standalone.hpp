// SPDX-License-Identifier: BSD-3-Clause
// What a program for guests stands on that stands alone: x86-64 Linux, no C library, run(argc, argv) instead of main().
// System calls' numbers are those of arch/x86/entry/syscalls/syscall_64.tbl, constants those of include/uapi/.
#pragma once

using U8 = unsigned char;
using U16 = unsigned short;
using U32 = unsigned;
using U64 = unsigned long;

extern "C" {

inline long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  long result = 0;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

// What the compiler may call even here.
[[gnu::used]] inline void* memset(void* to, int value, U64 count) {
  for (U64 i = 0; i < count; ++i)
    static_cast<volatile U8*>(to)[i] = static_cast<U8>(value);
  return to;
}
[[gnu::used]] inline void* memcpy(void* to, const void* from, U64 count) {
  for (U64 i = 0; i < count; ++i)
    static_cast<volatile U8*>(to)[i] = static_cast<const U8*>(from)[i];
  return to;
}

[[noreturn]] void run(long argc, const char* const* argv);
}

inline constexpr long kRead = 0, kWrite = 1, kOpen = 2, kClose = 3, kPoll = 7, kIoctl = 16, kPread = 17, kSocket = 41,
                      kConnect = 42, kRecvmsg = 47, kShutdown = 48, kBind = 49, kSetsockopt = 54, kExit = 60,
                      kSetuid = 105, kSetgid = 106, kSetns = 308, kKexecFileLoad = 320;
inline constexpr long kInet = 2, kInet6 = 10, kPacket = 17, kStream = 1, kDatagram = 2, kRaw = 3, kNonBlocking = 04000;
inline constexpr long kSolSocket = 1, kSendBufferForce = 32, kReceiveBufferForce = 33;

[[noreturn]] inline void leave(long status) {
  for (;;)
    call(kExit, status);
}

inline long at(const void* pointer) { return reinterpret_cast<long>(pointer); }

// Leaves with `step` if the system call has failed.
inline long must(long step, long result) {
  if (result < 0) leave(step);
  return result;
}

// Decimal digits from `text` on, which is left behind them and the one dot or colon that may follow.
inline U64 number(const char*& text) {
  U64 value = 0;
  while (*text >= '0' && *text <= '9')
    value = value * 10 + static_cast<U64>(*text++ - '0');
  if (*text == '.' || *text == ':') ++text;
  return value;
}

inline U64 number_of(const char* text) { return number(text); }

inline U64 length_of(const char* text) {
  U64 length = 0;
  while (text[length] != 0)
    ++length;
  return length;
}

inline U16 big_endian(U16 value) { return static_cast<U16>(value << 8 | value >> 8); }

inline void write_all(long file, const void* bytes, U64 count) {
  for (U64 done = 0; done < count;)
    done += static_cast<U64>(
        must(90, call(kWrite, file, at(bytes) + static_cast<long>(done), static_cast<long>(count - done))));
}

// The kernel leaves the count of arguments and the arguments on the stack (System V ABI, 3.4.1).
asm(".globl _start\n"
    "_start: mov (%rsp), %rdi\n"
    "        lea 8(%rsp), %rsi\n"
    "        and $-16, %rsp\n"
    "        call run\n");
