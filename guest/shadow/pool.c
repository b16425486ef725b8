// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
#include "pool.h"

#define SHADOW_NO_SLOT 0xffff

static u32 size_index(size_t size)
{
	if (size <= 1UL << SHADOW_SMALLEST_SHIFT)
		return 0;
	return order_base_2(size) - SHADOW_SMALLEST_SHIFT;
}

static u32 slots_of(const struct shadow_chunk *chunk)
{
	return 1U << (SHADOW_CHUNK_SHIFT - chunk->shift);
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
	chunk->free = SHADOW_NO_SLOT;
	list_add_tail(&chunk->list, &pool->uncut);
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

/* A chunk of this size that has a free slot, cut just now if need be. Under the lock, as all that follows. */
static struct shadow_chunk *chunk_of_size(struct shadow_pool *pool, u32 size)
{
	struct shadow_chunk *chunk;

	if (!list_empty(&pool->sizes[size]))
		return list_first_entry(&pool->sizes[size], struct shadow_chunk, list);
	if (list_empty(&pool->uncut))
		return NULL;
	chunk = list_first_entry(&pool->uncut, struct shadow_chunk, list);
	chunk->shift = SHADOW_SMALLEST_SHIFT + size;
	chunk->cut = 0;
	chunk->free = SHADOW_NO_SLOT;
	list_move(&chunk->list, &pool->sizes[size]);
	return chunk;
}

/* chunk << 16 | slot; false: no chunk has one. */
static bool take_from_chunks(struct shadow_pool *pool, u32 size, u32 *slot)
{
	struct shadow_chunk *chunk = chunk_of_size(pool, size);

	if (!chunk)
		return false;
	if (chunk->free != SHADOW_NO_SLOT) {
		*slot = chunk->number << 16 | chunk->free;
		chunk->free = chunk->next[chunk->free];
	} else {
		*slot = chunk->number << 16 | chunk->cut++;
	}
	if (++chunk->given == slots_of(chunk))
		list_del_init(&chunk->list);
	pool->bytes += 1UL << chunk->shift;
	pool->bytes_peak = max(pool->bytes_peak, pool->bytes);
	return true;
}

static void give_to_chunk(struct shadow_pool *pool, u32 slot)
{
	struct shadow_chunk *chunk = pool->chunks[slot >> 16];

	if (chunk->given == slots_of(chunk))
		list_add(&chunk->list, &pool->sizes[chunk->shift - SHADOW_SMALLEST_SHIFT]);
	chunk->next[slot & 0xffff] = chunk->free;
	chunk->free = slot & 0xffff;
	pool->bytes -= 1UL << chunk->shift;
	if (--chunk->given == 0) {
		chunk->shift = 0;
		list_move(&chunk->list, &pool->uncut);
	}
}

/* With an empty cache: half of what it may hold, and the slot that is wanted. Larger slots do too when there are no others. */
static bool refill(struct shadow_pool *pool, struct shadow_cache *cache, u32 size, u32 *slot)
{
	u32 wanted = pool->limits[size] / 2, larger;
	bool found;

	raw_spin_lock(&pool->lock);
	found = take_from_chunks(pool, size, slot);
	while (found && cache->sizes[size].count < wanted &&
	       take_from_chunks(pool, size, &cache->sizes[size].slots[cache->sizes[size].count]))
		cache->sizes[size].count++;
	for (larger = size + 1; !found && larger < SHADOW_SIZES; larger++)
		found = take_from_chunks(pool, larger, slot);
	raw_spin_unlock(&pool->lock);
	return found;
}

static void describe(struct shadow_chunk *chunk, u32 slot, u32 offset, struct shadow_place *place)
{
	place->chunk = chunk;
	place->slot = slot;
	place->offset = offset;
	place->record = &chunk->records[slot];
	place->memory = chunk->memory + ((size_t)slot << chunk->shift);
	place->address = chunk->address + ((u64)slot << chunk->shift);
}

bool shadow_pool_take(struct shadow_pool *pool, size_t size, struct shadow_place *place)
{
	u32 index, slot = 0;
	struct shadow_cache *cache;
	unsigned long flags;
	bool found = true;

	if (size > SHADOW_LARGEST_SIZE || !pool->count)
		return false;
	index = size_index(size);
	cache = &pool->caches[shadow_cpu_enter(flags)];
	if (cache->sizes[index].count)
		slot = cache->sizes[index].slots[--cache->sizes[index].count];
	else
		found = refill(pool, cache, index, &slot);
	shadow_cpu_leave(flags);
	if (found)
		describe(pool->chunks[slot >> 16], slot & 0xffff, 0, place);
	return found;
}

void shadow_pool_give(const struct shadow_place *place)
{
	struct shadow_pool *pool = place->chunk->pool;
	u32 index = place->chunk->shift - SHADOW_SMALLEST_SHIFT, slot = place->chunk->number << 16 | place->slot;
	struct shadow_cache *cache;
	unsigned long flags;
	u32 *count;

	place->record->size = 0;
	cache = &pool->caches[shadow_cpu_enter(flags)];
	count = &cache->sizes[index].count;
	if (*count == pool->limits[index]) {
		raw_spin_lock(&pool->lock);
		while (*count > pool->limits[index] / 2)
			give_to_chunk(pool, cache->sizes[index].slots[--*count]);
		if (!pool->limits[index])
			give_to_chunk(pool, slot);
		raw_spin_unlock(&pool->lock);
	}
	if (pool->limits[index])
		cache->sizes[index].slots[(*count)++] = slot;
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
		u8 shift = READ_ONCE(chunk->shift);

		if (inside >= SHADOW_CHUNK_SIZE)
			continue;
		if (!shift)
			return false;
		describe(chunk, inside >> shift, inside & ((1UL << shift) - 1), place);
		return true;
	}
	return false;
}
