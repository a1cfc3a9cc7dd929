/* Residency and release. See memtouch.h for the contract. */
#define _GNU_SOURCE
#include "memtouch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

/* Residency is asked for this many pages at a time, into a buffer on the stack. */
#define CHUNK_PAGES 512

static bool is_shared(const struct mt_region *region)
{
    return region->mapping == MT_SHARED_ANONYMOUS || region->mapping == MT_MEMFD || region->mapping == MT_SHARED_FILE;
}

/* ---- residency ---- */

/* Which pages a count is about: those of blocks 0, every, 2 * every, ... */
struct selection {
    uint64_t every;
    uint64_t block_bytes;
};

#define WHOLE ((struct selection){1, UINT64_MAX})

static bool selected(const struct selection *which, uint64_t offset)
{
    return offset / which->block_bytes % which->every == 0;
}

/* Linux Documentation/admin-guide/mm/pagemap.rst: bit 63 present, bit 56 mapped exclusively (so not the zero page). */
static int chunk_from_pagemap(int pagemap, uint64_t address, uint64_t pages, unsigned char *resident)
{
    const uint64_t needed = 1ULL << 63 | 1ULL << 56;
    uint64_t entries[CHUNK_PAGES];
    ssize_t size = (ssize_t)(pages * sizeof(*entries));
    ssize_t got = pread(pagemap, entries, (size_t)size, (off_t)(address / mt_page_bytes() * sizeof(*entries)));
    if (got != size)
        return got < 0 ? -errno : -EIO;
    for (uint64_t i = 0; i < pages; i++)
        resident[i] = (entries[i] & needed) == needed;
    return 0;
}

static int count_resident(const struct mt_region *region, int pagemap, struct selection which, uint64_t *bytes)
{
    unsigned char resident[CHUNK_PAGES];
    uint64_t page = mt_page_bytes(), total = 0;
    for (uint64_t chunk = 0; chunk < region->bytes; chunk += CHUNK_PAGES * page) {
        uint64_t left = (region->bytes - chunk) / page, pages = left < CHUNK_PAGES ? left : CHUNK_PAGES;
        uint64_t address = region->address + chunk;
        int error = 0;
        if (pagemap >= 0)
            error = chunk_from_pagemap(pagemap, address, pages, resident);
        else if (mincore((void *)address, pages * page, resident))
            error = -errno;
        if (error)
            return error;
        for (uint64_t i = 0; i < pages; i++)
            if (resident[i] & 1 && selected(&which, chunk + i * page))
                total += page;
    }
    *bytes = total;
    return 0;
}

/* -1 means that mincore is to answer: for shared memory, whose pages outlive their mapping, and where /proc is missing. */
static int open_pagemap(const struct mt_region *region)
{
    return is_shared(region) ? -1 : open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

int mt_resident(const struct mt_region *region, uint64_t *bytes)
{
    if (!region->address)
        return -EINVAL;
    int pagemap = open_pagemap(region);
    int error = count_resident(region, pagemap, WHOLE, bytes);
    if (pagemap >= 0)
        close(pagemap);
    return error;
}

/* ---- release ---- */

static int release_whole(struct mt_region *region, int how)
{
    void *start = (void *)region->address;
    if (how != MT_MUNMAP)
        return madvise(start, region->bytes, how == MT_FREE ? MADV_FREE : MADV_DONTNEED) ? -errno : 0;
    if (munmap(start, region->bytes))
        return -errno;
    if (region->fd >= 0)
        close(region->fd);    /* memory behind a nameless file goes with its last descriptor: part of the release */
    region->address = 0;
    region->fd = -1;
    return 0;
}

static int release_holes(const struct mt_region *region, struct selection which)
{
    int advice = is_shared(region) ? MADV_REMOVE : MADV_DONTNEED;
    uint64_t stride = which.every * which.block_bytes;
    for (uint64_t offset = 0; offset < region->bytes; offset += stride) {
        uint64_t left = region->bytes - offset;
        uint64_t length = left < which.block_bytes ? left : which.block_bytes;
        if (madvise((void *)(region->address + offset), length, advice))
            return -errno;
        if (left <= stride)
            break;
    }
    return 0;
}

static bool is_possible(const struct mt_region *region, int how, struct selection which)
{
    if (!region->address || how < MT_MUNMAP || how > MT_HOLES)
        return false;
    if (how != MT_HOLES)
        return true;
    return which.every > 0 && which.block_bytes > 0 && which.block_bytes % region->page_bytes == 0 &&
           which.every <= UINT64_MAX / which.block_bytes;
}

int mt_release(struct mt_region *region, int how, uint64_t every, uint64_t block_bytes, struct mt_released *out)
{
    struct selection which = how == MT_HOLES ? (struct selection){every, block_bytes} : WHOLE;
    if (!is_possible(region, how, which))
        return -EINVAL;
    *out = (struct mt_released){0};
    int pagemap = open_pagemap(region);
    uint64_t before = 0, after = 0;
    int error = count_resident(region, pagemap, which, &before);
    if (!error) {
        uint64_t start = mt_now_ns();
        error = how == MT_HOLES ? release_holes(region, which) : release_whole(region, how);
        out->ns = mt_now_ns() - start;
    }
    if (!error && how != MT_MUNMAP)
        error = count_resident(region, pagemap, which, &after);
    if (pagemap >= 0)
        close(pagemap);
    out->offered_bytes = before;
    out->bytes = before > after ? before - after : 0;
    return error;
}
