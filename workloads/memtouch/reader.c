/* Reading a file of known content: once from end to end, or a part of it over and over at a fixed pace. */
#define _GNU_SOURCE
#include "memtouch.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000u

/* Where byte `position` of the pieces laid end to end is in the file. */
static uint64_t offset_of(const struct mt_pieces *set, uint64_t position)
{
    return position / set->piece_bytes * set->stride_bytes + position % set->piece_bytes;
}

static int valid(const struct mt_pieces *set)
{
    return set->piece_bytes && set->piece_bytes % MT_BLOCK_BYTES == 0 && set->stride_bytes % MT_BLOCK_BYTES == 0 &&
           set->pieces && set->stride_bytes >= set->piece_bytes;
}

/* The whole of `bytes`, over short reads and signals. 0 or -errno; -ENODATA where the file ends before. */
static int read_fully(const struct mt_pieces *set, char *to, uint64_t bytes, uint64_t offset)
{
    if (set->mapped) {
        memcpy(to, (const char *)(uintptr_t)set->mapped + offset, bytes);
        return 0;
    }
    while (bytes) {
        ssize_t part = pread(set->fd, to, bytes, (off_t)offset);
        if (part < 0 && errno == EINTR)
            continue;
        if (part <= 0)
            return part ? -errno : -ENODATA;
        to += part;
        offset += (uint64_t)part;
        bytes -= (uint64_t)part;
    }
    return 0;
}

static void check(const struct mt_pieces *set, const char *data, uint64_t bytes, uint64_t offset, struct mt_read *out)
{
    for (uint64_t at = 0; at < bytes; at += MT_BLOCK_BYTES) {
        uint64_t expected = set->first_word + (offset + at) / MT_BLOCK_BYTES, found;
        memcpy(&found, data + at, sizeof(found));
        if (found == expected)
            continue;
        if (!out->bad_pages++) {
            out->offset = offset + at;
            out->expected = expected;
            out->found = found;
        }
    }
}

int mt_read_all(const struct mt_pieces *set, char *buffer, uint64_t buffer_bytes, struct mt_read *out)
{
    *out = (struct mt_read){0};
    if (!valid(set) || buffer_bytes < MT_BLOCK_BYTES || buffer_bytes % MT_BLOCK_BYTES)
        return -EINVAL;
    for (uint64_t piece = 0; piece < set->pieces; piece++) {
        for (uint64_t done = 0; done < set->piece_bytes;) {
            uint64_t left = set->piece_bytes - done, bytes = left < buffer_bytes ? left : buffer_bytes;
            uint64_t offset = piece * set->stride_bytes + done, start = mt_now_ns();
            int error = read_fully(set, buffer, bytes, offset);
            out->ns += mt_now_ns() - start;
            if (error)
                return error;
            check(set, buffer, bytes, offset, out);
            out->reads++;
            out->bytes += bytes;
            done += bytes;
        }
    }
    return 0;
}

uint64_t mt_shuffled(uint64_t index, uint64_t round, uint64_t mask)
{
    unsigned half = (64u - (unsigned)__builtin_clzll(mask) + 1) / 2;
    uint64_t x = (index + round * 0x9e3779b97f4a7c15u) & mask;
    x = (x ^ x >> half) * 0x9e3779b97f4a7c15u & mask;
    x = (x ^ x >> half) * 0xd1b54a32d192ed03u & mask;
    return x ^ x >> half;
}

static void sleep_until(uint64_t due)
{
    struct timespec until = {.tv_sec = (time_t)(due / NS_PER_S), .tv_nsec = (long)(due % NS_PER_S)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

static void count(uint64_t *counts, uint64_t ns, uint64_t *max_ns)
{
    counts[mt_bucket(ns)]++;
    if (ns > *max_ns)
        *max_ns = ns;
}

int mt_read_paced(struct mt_pieces *set, uint64_t period_ns, uint64_t *reads, uint64_t *waits, struct mt_read *out)
{
    char block[MT_BLOCK_BYTES];
    *out = (struct mt_read){0};
    if (!valid(set) || !period_ns)
        return -EINVAL;
    uint64_t blocks = set->pieces * (set->piece_bytes / MT_BLOCK_BYTES);
    /* The smallest 2^n - 1 that every block's number fits into. */
    uint64_t mask = blocks > 2 ? ~(uint64_t)0 >> __builtin_clzll(blocks - 1) : 1;
    /* A waking up that the kernel may put off would be counted as a wait. */
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    uint64_t first = mt_now_ns(), due = first;
    for (uint64_t round = 0;; round++) {
        for (uint64_t index = 0; index <= mask; index++) {
            uint64_t place = mt_shuffled(index, round, mask);
            if (place >= blocks)
                continue;
            if (__atomic_load_n(&set->stop, __ATOMIC_RELAXED)) {
                out->ns = mt_now_ns() - first;
                return 0;
            }
            sleep_until(due);
            uint64_t offset = offset_of(set, place * MT_BLOCK_BYTES), start = mt_now_ns();
            int error = read_fully(set, block, sizeof(block), offset);
            uint64_t end = mt_now_ns();
            if (error)
                return error;
            count(reads, end - start, &out->max_ns);
            count(waits, end - due, &out->max_wait_ns);
            check(set, block, sizeof(block), offset, out);
            out->reads++;
            out->bytes += sizeof(block);
            due += period_ns;
        }
    }
}

void mt_stop_reading(struct mt_pieces *set)
{
    __atomic_store_n(&set->stop, 1, __ATOMIC_RELAXED);
}
