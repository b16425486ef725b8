/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * Slots for copies of DMA buffers, out of chunks that the device reaches for as long as the pool lives.
 *
 * A chunk is 2 MiB of memory with one DMA address, in blocks of 64 KiB. A block belongs to no size until a slot of a
 * size is wanted, is then cut into slots of this size, and is free for any size again when its last slot has come
 * back. Sizes are powers of two from 2 to 64 KiB. Every step is O(1); none sleeps, and all may be taken in any context,
 * hard interrupts included.
 *
 * A processor keeps some slots of each size to itself and takes the pool's lock for a batch of them only. What all
 * processors can keep together is at most a quarter of the pool, so "exhausted" comes early by at most that.
 *
 * Pools know nothing of devices, of directions or of the DMA API.
 */
#ifndef VMUX_SHADOW_POOL_H
#define VMUX_SHADOW_POOL_H

#include "platform.h"

#define SHADOW_CHUNK_SHIFT 21
#define SHADOW_CHUNK_SIZE (1UL << SHADOW_CHUNK_SHIFT)
#define SHADOW_SMALLEST_SHIFT 11
#define SHADOW_LARGEST_SHIFT 16 /* and the size of a block */
#define SHADOW_LARGEST_SIZE (1UL << SHADOW_LARGEST_SHIFT)
#define SHADOW_SIZES (SHADOW_LARGEST_SHIFT - SHADOW_SMALLEST_SHIFT + 1)
#define SHADOW_SLOTS_IN_BLOCK (1U << (SHADOW_LARGEST_SHIFT - SHADOW_SMALLEST_SHIFT))
#define SHADOW_BLOCKS_IN_CHUNK (1U << (SHADOW_CHUNK_SHIFT - SHADOW_LARGEST_SHIFT))
#define SHADOW_CHUNKS_IN_POOL 1024 /* 2 GiB */
#define SHADOW_CACHED_SLOTS 32 /* of one size, by one processor, at most */

/* What a slot stands for. Belongs to whoever has taken the slot; the pool only says that a slot given back has none. */
struct shadow_record {
	void *original;
	u32 size; /* in bytes; 0: nobody has this slot */
};

struct shadow_block {
	struct list_head list; /* among those of its size with a free slot, or among the uncut; else empty */
	u32 number; /* in its pool: of all chunks' blocks */
	u8 shift; /* of its slots' size; 0: uncut */
	u8 given; /* slots that are not in this block's hands: taken, or kept by a processor */
	u8 cut; /* slots from here on were never given since the block was cut */
	u8 free; /* the slot that came back last, or SHADOW_NO_SLOT */
	u8 next[SHADOW_SLOTS_IN_BLOCK]; /* of a free slot: the one that came back before it */
	struct shadow_record records[SHADOW_SLOTS_IN_BLOCK];
};

struct shadow_chunk {
	struct shadow_pool *pool;
	void *memory;
	u64 address; /* the device's */
	void *owner; /* the caller's, untouched */
	u32 number; /* in its pool */
	struct shadow_block blocks[SHADOW_BLOCKS_IN_CHUNK];
};

struct shadow_cache {
	struct {
		u32 count;
		u32 slots[SHADOW_CACHED_SLOTS]; /* their numbers; the last is taken first, it is warm */
	} sizes[SHADOW_SIZES];
} ____cacheline_aligned;

struct shadow_pool {
	struct shadow_chunk *chunks[SHADOW_CHUNKS_IN_POOL];
	u32 count; /* of chunks */
	u32 cpus;
	u32 limits[SHADOW_SIZES]; /* slots that one processor may keep; 0: all go through the lock */
	struct shadow_cache *caches;

	raw_spinlock_t lock; /* of what follows and of the blocks */
	struct list_head uncut;
	struct list_head sizes[SHADOW_SIZES];
	u64 bytes; /* in slots that blocks have given */
	u64 bytes_peak;
};

/* A slot, and where in it an address was. */
struct shadow_place {
	struct shadow_chunk *chunk;
	u32 block; /* in the chunk */
	u32 slot; /* in the block */
	u32 offset; /* in bytes from the slot's beginning */
	struct shadow_record *record;
	void *memory; /* of the slot's beginning */
	u64 address; /* the same */
};

/* Finds the chunk that an address lies in, for chunks of several pools. Not to be written while others read. */
struct shadow_index {
	u32 mask;
	struct shadow_chunk **entries;
};

/*
 * `cpus`: how many processors there can be. An empty pool; 0 or -ENOMEM. A pool that is all zeros can be cleared and
 * has no slots, so that failures need no care.
 */
int shadow_pool_init(struct shadow_pool *pool, u32 cpus);
/* Gives the chunks' records free. The caller has taken `memory` and `owner` back already. */
void shadow_pool_clear(struct shadow_pool *pool);
/* Adds a chunk, before the first slot is taken. NULL: no memory, or the pool has all it can. */
struct shadow_chunk *shadow_pool_add(struct shadow_pool *pool, void *memory, u64 address, void *owner);
/* After the last shadow_pool_add(): how much each processor may keep. */
void shadow_pool_settle(struct shadow_pool *pool);

/* A slot of at least `size` bytes with an empty record; false: there is none, or none is so large. */
bool shadow_pool_take(struct shadow_pool *pool, size_t size, struct shadow_place *place);
/* The slot is anybody's from here on. */
void shadow_pool_give(const struct shadow_place *place);

int shadow_index_init(struct shadow_index *index, u32 chunks);
void shadow_index_clear(struct shadow_index *index);
void shadow_index_add(struct shadow_index *index, struct shadow_chunk *chunk);
/* The slot that an address lies in, taken or not; false: the address is of no chunk, or of a block that is uncut. */
bool shadow_index_find(const struct shadow_index *index, u64 address, struct shadow_place *place);

#endif
