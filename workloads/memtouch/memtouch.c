/* Map, touch, verify. See memtouch.h for the contract. */
#define _GNU_SOURCE
#include "memtouch.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif
#define HUGE_2M (2UL << 20)
#define MAP_HUGE_2M (21 << MAP_HUGE_SHIFT)

_Static_assert(sizeof(void *) == sizeof(uint64_t), "memtouch needs a 64-bit machine");

uint64_t mt_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t mt_page_bytes(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t mt_clock_cost_ns(uint32_t samples)
{
    uint64_t start = mt_now_ns(), now = start;
    for (uint32_t i = 0; i < samples; i++)
        now = mt_now_ns();
    return samples ? (now - start) / samples : 0;
}

/* ---- map ---- */

static int mmap_flags(int mapping)
{
    switch (mapping) {
    case MT_ANONYMOUS: return MAP_PRIVATE | MAP_ANONYMOUS;
    case MT_SHARED_ANONYMOUS: return MAP_SHARED | MAP_ANONYMOUS;
    case MT_PRIVATE_FILE: return MAP_PRIVATE;
    case MT_MEMFD:
    case MT_SHARED_FILE: return MAP_SHARED;
    case MT_HUGETLB: return MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2M;
    default: return -1;
    }
}

/* A huge-page aligned place, so that the number of huge pages in a region does not depend on address randomisation. */
static char *reserve_aligned(uint64_t bytes)
{
    char *start = mmap(NULL, bytes + HUGE_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    size_t head = -(uintptr_t)start & (HUGE_2M - 1);
    if (head)
        munmap(start, head);
    munmap(start + head + bytes, HUGE_2M - head);
    return start + head;
}

static int advise_thp(void *start, uint64_t bytes, int thp)
{
    if (thp == MT_THP_ALWAYS && madvise(start, bytes, MADV_HUGEPAGE))
        return -errno;
    /* EINVAL: a kernel without THP, which is what was asked for. */
    if (thp == MT_THP_NEVER && madvise(start, bytes, MADV_NOHUGEPAGE) && errno != EINVAL)
        return -errno;
    return 0;
}

int mt_map(struct mt_region *region, int thp)
{
    int flags = mmap_flags(region->mapping);
    uint64_t page = region->mapping == MT_HUGETLB ? HUGE_2M : mt_page_bytes();
    if (flags < 0 || region->bytes == 0 || region->bytes > (uint64_t)1 << 62)
        return -EINVAL;
    uint64_t bytes = (region->bytes + page - 1) / page * page;
    char *start = reserve_aligned(bytes);
    if (!start)
        return -errno;
    int error = 0;
    if (mmap(start, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, region->fd, 0) == MAP_FAILED)
        error = -errno;
    else
        error = advise_thp(start, bytes, thp);
    /* Pages that a forked task has too are not freed by whoever releases them. */
    if (!error && madvise(start, bytes, MADV_DONTFORK))
        error = -errno;
    if (error) {
        munmap(start, bytes);
        return error;
    }
    region->address = (uintptr_t)start;
    region->bytes = bytes;
    region->page_bytes = page;
    return 0;
}

/* ---- touch and verify ---- */

/* Multiplication by an odd number and a xor-shift: each is a bijection, so neighbouring addresses differ in all bytes. */
static inline uint64_t pattern(uint64_t address, uint64_t salt)
{
    uint64_t word = (address ^ salt) * 0x9e3779b97f4a7c15u;
    return (word ^ word >> 32) | 1;
}

/* Spread over the high bits, where it cannot turn one address of a region into another. */
static inline uint64_t salt_of(uint64_t seed)
{
    return seed * 0xd1b54a32d192ed03u << 3;
}

uint64_t mt_pattern(uint64_t address, uint64_t seed)
{
    return pattern(address, salt_of(seed));
}

/* `mode` is a constant wherever this is used, so only one case is left. Volatile: one access of one word a page, exactly. */
__attribute__((always_inline)) static inline void touch_page(char *page, uint64_t page_bytes, uint64_t salt, int mode)
{
    uint64_t *words = (uint64_t *)(void *)page;
    if (mode == MT_WRITE)
        *(volatile uint64_t *)words = pattern((uintptr_t)page, salt);
    else if (mode == MT_READ)
        (void)*(volatile uint64_t *)words;
    else
        for (uint64_t *end = words + page_bytes / sizeof(*words); words < end; words++)
            *words = pattern((uintptr_t)words, salt);
}

__attribute__((always_inline)) static inline void touch_all(const struct mt_region *region, int mode)
{
    char *page = (char *)region->address, *end = page + region->bytes;
    uint64_t step = region->page_bytes, salt = salt_of(region->seed);
    for (; page < end; page += step)
        touch_page(page, step, salt, mode);
}

/* One clock reading a page: the end of a page is the start of the next, so a latency includes one reading. */
__attribute__((always_inline)) static inline void touch_timed(const struct mt_region *region, int mode, uint64_t *counts,
                                                              uint64_t *max_ns, uint64_t before)
{
    char *page = (char *)region->address, *end = page + region->bytes;
    uint64_t step = region->page_bytes, salt = salt_of(region->seed), max = 0;
    for (; page < end; page += step) {
        touch_page(page, step, salt, mode);
        uint64_t after = mt_now_ns(), ns = after - before;
        counts[mt_bucket(ns)]++;
        if (ns > max)
            max = ns;
        before = after;
    }
    *max_ns = max;
}

int mt_touch(const struct mt_region *region, int mode, uint64_t *counts, struct mt_touched *out)
{
    if (!region->address || mode < MT_WRITE || mode > MT_FILL)
        return -EINVAL;
    *out = (struct mt_touched){.pages = region->bytes / region->page_bytes};
    uint64_t start = mt_now_ns();
    switch (mode) {
    case MT_WRITE: counts ? touch_timed(region, MT_WRITE, counts, &out->max_ns, start) : touch_all(region, MT_WRITE); break;
    case MT_READ: counts ? touch_timed(region, MT_READ, counts, &out->max_ns, start) : touch_all(region, MT_READ); break;
    default: counts ? touch_timed(region, MT_FILL, counts, &out->max_ns, start) : touch_all(region, MT_FILL); break;
    }
    out->ns = mt_now_ns() - start;
    return 0;
}

/* The first wrong word of a page, or NULL. */
static const uint64_t *wrong_word(const uint64_t *words, uint64_t count, uint64_t salt)
{
    for (const uint64_t *end = words + count; words < end; words++)
        if (*words != pattern((uintptr_t)words, salt))
            return words;
    return NULL;
}

int mt_verify(const struct mt_region *region, int extent, struct mt_verified *out)
{
    if (!region->address || (extent != MT_WORD && extent != MT_FULL))
        return -EINVAL;
    *out = (struct mt_verified){0};
    uint64_t start = mt_now_ns(), salt = salt_of(region->seed), end = region->address + region->bytes;
    uint64_t count = extent == MT_WORD ? 1 : region->page_bytes / sizeof(uint64_t);
    for (uint64_t page = region->address; page < end; page += region->page_bytes) {
        const uint64_t *wrong = wrong_word((const uint64_t *)page, count, salt);
        if (wrong && out->bad_pages++ == 0) {
            out->address = (uintptr_t)wrong;
            out->expected = pattern((uintptr_t)wrong, salt);
            out->found = *wrong;
        }
    }
    out->ns = mt_now_ns() - start;
    return 0;
}
