/* SPDX-License-Identifier: BSD-3-Clause */
/* The names of platform.h for a program: what the pool's tests are compiled with. */
#ifndef VMUX_SHADOW_TEST_USER_H
#define VMUX_SHADOW_TEST_USER_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define ____cacheline_aligned __attribute__((aligned(64)))
struct list_head {
  struct list_head *next, *prev;
};

typedef pthread_mutex_t raw_spinlock_t;

#ifndef __cplusplus /* the tests themselves are C++, and want the types alone */
#define READ_ONCE(value) (*(const volatile __typeof__(value)*)&(value))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define min_t(type, a, b) ((type)(a) < (type)(b) ? (type)(a) : (type)(b))
#define order_base_2(value) ((value) > 1 ? 64 - __builtin_clzl((unsigned long)(value)-1) : 0)

static inline void INIT_LIST_HEAD(struct list_head* list) { list->next = list->prev = list; }

static inline void list_add(struct list_head* entry, struct list_head* head) {
  entry->next = head->next;
  entry->prev = head;
  head->next->prev = entry;
  head->next = entry;
}

static inline void list_add_tail(struct list_head* entry, struct list_head* head) { list_add(entry, head->prev); }

static inline void list_del_init(struct list_head* entry) {
  entry->next->prev = entry->prev;
  entry->prev->next = entry->next;
  INIT_LIST_HEAD(entry);
}

static inline void list_move(struct list_head* entry, struct list_head* head) {
  list_del_init(entry);
  list_add(entry, head);
}

static inline bool list_empty(const struct list_head* head) { return head->next == head; }

#define list_first_entry(head, type, member) ((type*)((char*)(head)->next - offsetof(type, member)))

#define raw_spin_lock_init(lock) pthread_mutex_init(lock, NULL)
#define raw_spin_lock(lock) pthread_mutex_lock(lock)
#define raw_spin_unlock(lock) pthread_mutex_unlock(lock)

static inline void* shadow_zalloc(size_t size) {
  void* memory = aligned_alloc(64, (size + 63) / 64 * 64);

  return memory ? __builtin_memset(memory, 0, size) : NULL;
}

static inline void shadow_free(void* memory) { free(memory); }

/* A thread is a processor, with the number that it has given itself. */
extern _Thread_local u32 shadow_test_cpu;
#define shadow_cpu_enter(flags) ((void)(flags = 0), shadow_test_cpu)
#define shadow_cpu_leave(flags) ((void)(flags))
#endif

#endif
