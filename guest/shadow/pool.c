// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
#include "pool.h"

#define SHADOW_NO_SLOT 0xff

/* A slot as one number: its chunk's, its block's, its own. */
#define SLOT_BITS (SHADOW_LARGEST_SHIFT - SHADOW_SMALLEST_SHIFT)
#define BLOCK_BITS (SHADOW_CHUNK_SHIFT - SHADOW_LARGEST_SHIFT)

static u32 number_of(u32 chunk, u32 block, u32 slot)
{
	return (chunk << BLOCK_BITS | block) << SLOT_BITS | slot;
}

static struct shadow_chunk *chunk_of(const struct shadow_pool *pool, u32 number)
{
	return pool->chunks[number >> (SLOT_BITS + BLOCK_BITS)];
}

static u32 block_of(u32 number)
{
	return number >> SLOT_BITS & (SHADOW_BLOCKS_IN_CHUNK - 1);
}

static u32 slot_of(u32 number)
{
	return number & (SHADOW_SLOTS_IN_BLOCK - 1);
}

static u32 size_index(size_t size)
{
	if (size <= 1UL << SHADOW_SMALLEST_SHIFT)
		return 0;
	return order_base_2(size) - SHADOW_SMALLEST_SHIFT;
}

static u32 slots_in(const struct shadow_block *block)
{
	return 1U << (SHADOW_LARGEST_SHIFT - block->shift);
}

int shadow_pool_init(struct shadow_pool *pool, u32 cpus)
{
	u32 size;

	raw_spin_lock_init(&pool->lock);
	INIT_LIST_HEAD(&pool->uncut);
	for (size = 0; size < SHADOW_SIZES; size++)
		INIT_LIST_HEAD(&pool->sizes[size]);
	pool->caches = shadow_zalloc(cpus * sizeof(*pool->caches));
	pool->cpus = cpus;
	return pool->caches ? 0 : -ENOMEM;
}

void shadow_pool_clear(struct shadow_pool *pool)
{
	while (pool->count)
		shadow_free(pool->chunks[--pool->count]);
	shadow_free(pool->caches);
	pool->caches = NULL;
}

struct shadow_chunk *shadow_pool_add(struct shadow_pool *pool, void *memory, u64 address, void *owner)
{
	struct shadow_chunk *chunk;
	u32 i;

	if (pool->count == SHADOW_CHUNKS_IN_POOL)
		return NULL;
	chunk = shadow_zalloc(sizeof(*chunk));
	if (!chunk)
		return NULL;
	chunk->pool = pool;
	chunk->memory = memory;
	chunk->address = address;
	chunk->owner = owner;
	chunk->number = pool->count;
	for (i = 0; i < SHADOW_BLOCKS_IN_CHUNK; i++) {
		chunk->blocks[i].number = number_of(chunk->number, i, 0) >> SLOT_BITS;
		list_add_tail(&chunk->blocks[i].list, &pool->uncut);
	}
	pool->chunks[pool->count++] = chunk;
	return chunk;
}

void shadow_pool_settle(struct shadow_pool *pool)
{
	u64 share = ((u64)pool->count << SHADOW_CHUNK_SHIFT) / 4 / pool->cpus / SHADOW_SIZES;
	u32 size;

	for (size = 0; size < SHADOW_SIZES; size++)
		pool->limits[size] = min_t(u64, SHADOW_CACHED_SLOTS, share >> (SHADOW_SMALLEST_SHIFT + size));
}

/* A block of this size that has a free slot, cut just now if need be. Under the lock, as all that follows. */
static struct shadow_block *block_of_size(struct shadow_pool *pool, u32 size)
{
	struct shadow_block *block;

	if (!list_empty(&pool->sizes[size]))
		return list_first_entry(&pool->sizes[size], struct shadow_block, list);
	if (list_empty(&pool->uncut))
		return NULL;
	block = list_first_entry(&pool->uncut, struct shadow_block, list);
	block->shift = SHADOW_SMALLEST_SHIFT + size;
	block->cut = 0;
	block->free = SHADOW_NO_SLOT;
	list_move(&block->list, &pool->sizes[size]);
	return block;
}

/* False: no block has one, and none is uncut. */
static bool take_from_blocks(struct shadow_pool *pool, u32 size, u32 *number)
{
	struct shadow_block *block = block_of_size(pool, size);
	u32 slot;

	if (!block)
		return false;
	slot = block->free;
	if (slot != SHADOW_NO_SLOT)
		block->free = block->next[slot];
	else
		slot = block->cut++;
	*number = block->number << SLOT_BITS | slot;
	if (++block->given == slots_in(block))
		list_del_init(&block->list);
	pool->bytes += 1UL << block->shift;
	pool->bytes_peak = max(pool->bytes_peak, pool->bytes);
	return true;
}

static void give_to_block(struct shadow_pool *pool, u32 number)
{
	struct shadow_block *block = &chunk_of(pool, number)->blocks[block_of(number)];

	if (block->given == slots_in(block))
		list_add(&block->list, &pool->sizes[block->shift - SHADOW_SMALLEST_SHIFT]);
	block->next[slot_of(number)] = block->free;
	block->free = slot_of(number);
	pool->bytes -= 1UL << block->shift;
	if (--block->given == 0) {
		block->shift = 0;
		list_move(&block->list, &pool->uncut);
	}
}

/* With an empty cache: half of what it may hold, and the slot that is wanted. A larger one does when there is no other.
 */
static bool refill(struct shadow_pool *pool, struct shadow_cache *cache, u32 size, u32 *number)
{
	u32 wanted = pool->limits[size] / 2, larger;
	bool found;

	raw_spin_lock(&pool->lock);
	found = take_from_blocks(pool, size, number);
	while (found && cache->sizes[size].count < wanted &&
	       take_from_blocks(pool, size, &cache->sizes[size].slots[cache->sizes[size].count]))
		cache->sizes[size].count++;
	for (larger = size + 1; !found && larger < SHADOW_SIZES; larger++)
		found = take_from_blocks(pool, larger, number);
	raw_spin_unlock(&pool->lock);
	return found;
}

static void describe(struct shadow_chunk *chunk, u32 block, u32 slot, struct shadow_place *place)
{
	size_t inside = ((size_t)block << SHADOW_LARGEST_SHIFT) + ((size_t)slot << chunk->blocks[block].shift);

	place->chunk = chunk;
	place->block = block;
	place->slot = slot;
	place->offset = 0;
	place->record = &chunk->blocks[block].records[slot];
	place->memory = chunk->memory + inside;
	place->address = chunk->address + inside;
}

bool shadow_pool_take(struct shadow_pool *pool, size_t size, struct shadow_place *place)
{
	u32 index, number = 0;
	struct shadow_cache *cache;
	unsigned long flags;
	bool found = true;

	if (size > SHADOW_LARGEST_SIZE || !pool->count)
		return false;
	index = size_index(size);
	cache = &pool->caches[shadow_cpu_enter(flags)];
	if (cache->sizes[index].count)
		number = cache->sizes[index].slots[--cache->sizes[index].count];
	else
		found = refill(pool, cache, index, &number);
	shadow_cpu_leave(flags);
	if (found)
		describe(chunk_of(pool, number), block_of(number), slot_of(number), place);
	return found;
}

void shadow_pool_give(const struct shadow_place *place)
{
	struct shadow_pool *pool = place->chunk->pool;
	u32 index = place->chunk->blocks[place->block].shift - SHADOW_SMALLEST_SHIFT;
	u32 number = number_of(place->chunk->number, place->block, place->slot);
	struct shadow_cache *cache;
	unsigned long flags;
	u32 *count;

	place->record->size = 0;
	cache = &pool->caches[shadow_cpu_enter(flags)];
	count = &cache->sizes[index].count;
	if (*count == pool->limits[index]) {
		raw_spin_lock(&pool->lock);
		while (*count > pool->limits[index] / 2)
			give_to_block(pool, cache->sizes[index].slots[--*count]);
		if (!pool->limits[index])
			give_to_block(pool, number);
		raw_spin_unlock(&pool->lock);
	}
	if (pool->limits[index])
		cache->sizes[index].slots[(*count)++] = number;
	shadow_cpu_leave(flags);
}

static u32 index_start(const struct shadow_index *index, u64 frame)
{
	return (u32)((frame * 0x9e3779b97f4a7c15ULL) >> 32) & index->mask;
}

int shadow_index_init(struct shadow_index *index, u32 chunks)
{
	/* Each chunk has one entry or two; at most half of all are used, so that a search is short and ends. */
	u32 size = 1U << order_base_2(4 * chunks + 1);

	index->mask = size - 1;
	index->entries = shadow_zalloc(size * sizeof(*index->entries));
	return index->entries ? 0 : -ENOMEM;
}

void shadow_index_clear(struct shadow_index *index)
{
	shadow_free(index->entries);
	index->entries = NULL;
}

static void add_frame(struct shadow_index *index, u64 frame, struct shadow_chunk *chunk)
{
	u32 at = index_start(index, frame);

	while (index->entries[at])
		at = (at + 1) & index->mask;
	index->entries[at] = chunk;
}

void shadow_index_add(struct shadow_index *index, struct shadow_chunk *chunk)
{
	u64 first = chunk->address >> SHADOW_CHUNK_SHIFT;
	u64 last = (chunk->address + SHADOW_CHUNK_SIZE - 1) >> SHADOW_CHUNK_SHIFT;

	add_frame(index, first, chunk);
	if (last != first) /* the kernel aligns such addresses to their size, but nobody has promised it */
		add_frame(index, last, chunk);
}

bool shadow_index_find(const struct shadow_index *index, u64 address, struct shadow_place *place)
{
	u32 at = index_start(index, address >> SHADOW_CHUNK_SHIFT);
	struct shadow_chunk *chunk;

	for (; (chunk = index->entries[at]); at = (at + 1) & index->mask) {
		u64 inside = address - chunk->address;
		u32 block = inside >> SHADOW_LARGEST_SHIFT, within = inside & (SHADOW_LARGEST_SIZE - 1);
		u8 shift;

		if (inside >= SHADOW_CHUNK_SIZE)
			continue;
		shift = READ_ONCE(chunk->blocks[block].shift);
		if (!shift)
			return false;
		describe(chunk, block, within >> shift, place);
		place->offset = within & ((1U << shift) - 1);
		return true;
	}
	return false;
}
