/* memtouch: map, touch, verify and release memory, and say how long each took.
 *
 * Every function that can fail returns 0 or -errno. Times are CLOCK_MONOTONIC nanoseconds. The caller owns every buffer:
 * nothing here allocates, prints, or calls the kernel inside a timed loop except for what is timed (and the clock itself).
 */
#ifndef MEMTOUCH_H
#define MEMTOUCH_H

#include <stdint.h>

/* build.py gives everything between the two marks to cffi, so that no declaration is typed twice. */
/* cffi: begin */

enum mt_mapping {
    MT_ANONYMOUS, MT_SHARED_ANONYMOUS, MT_MEMFD, MT_PRIVATE_FILE, MT_SHARED_FILE, MT_HUGETLB,
};
enum mt_thp { MT_THP_SYSTEM, MT_THP_ALWAYS, MT_THP_NEVER };
enum mt_mode { MT_WRITE, MT_READ, MT_FILL };
enum mt_extent { MT_WORD, MT_FULL };
enum mt_how { MT_MUNMAP, MT_DONTNEED, MT_FREE, MT_HOLES };

/* A mapped region. `bytes` is a multiple of `page_bytes`, the step of a touch. `fd` is -1 or owned by the region. */
struct mt_region {
    uint64_t address;
    uint64_t bytes;
    uint64_t page_bytes;
    uint64_t seed;    /* chosen by the caller, part of the pattern: tells one use of an address from the next */
    int32_t mapping;
    int32_t fd;
};

struct mt_touched {
    uint64_t ns;
    uint64_t pages;
    uint64_t max_ns;    /* slowest page; 0 without a histogram */
};

struct mt_verified {
    uint64_t ns;
    uint64_t bad_pages;
    uint64_t address;    /* of the first wrong 8-byte word; 0 when none is wrong */
    uint64_t expected;
    uint64_t found;
};

struct mt_released {
    uint64_t ns;               /* in the releasing calls only */
    uint64_t bytes;            /* resident before and gone after */
    uint64_t offered_bytes;    /* resident before, in the blocks that were released */
};

uint64_t mt_now_ns(void);
uint64_t mt_page_bytes(void);
uint64_t mt_clock_cost_ns(uint32_t samples);    /* mean time of a clock reading */

/* Map `region->bytes` (rounded up to pages), 2 MiB aligned. In: bytes, seed, mapping, fd. Out: address, bytes, page_bytes. */
int mt_map(struct mt_region *region, int thp);

/* The word that belongs at an 8-byte aligned address. Never 0, so that a zeroed page is always found. */
uint64_t mt_pattern(uint64_t address, uint64_t seed);

/* WRITE puts the first pattern word into each page, READ reads one word a page, FILL writes every word.
 * `counts` is NULL or MT_BUCKETS counters to which each page's latency is added; that costs a clock reading a page. */
int mt_touch(const struct mt_region *region, int mode, uint64_t *counts, struct mt_touched *out);

/* WORD checks the first word of each page (after WRITE or FILL), FULL every word (after FILL). */
int mt_verify(const struct mt_region *region, int extent, struct mt_verified *out);

/* HOLES gives back blocks 0, every, 2 * every, ... of `block_bytes` (a multiple of page_bytes); the others ignore both.
 * MUNMAP also closes `fd` and ends the region. Shared memory: HOLES uses MADV_REMOVE, DONTNEED gives nothing back (bytes
 * is 0), FREE is -EINVAL. FREE lets the kernel take the pages later, so `bytes` is usually 0 and `offered_bytes` is not. */
int mt_release(struct mt_region *region, int how, uint64_t every, uint64_t block_bytes, struct mt_released *out);

/* Bytes that releasing the whole region would free: for private memory pages mapped by this process alone (the shared zero
 * page is none of them), for shared memory pages in the page cache. */
int mt_resident(const struct mt_region *region, uint64_t *bytes);

/* Log-linear histogram: 128 buckets a power of two. A value and its bucket's upper bound differ by at most 1/128 of the
 * value (0.79 %), by nothing below 256 ns. It covers 0 ns to 2^40 - 1 ns (18 min); greater values go to the last bucket. */
#define MT_BUCKETS 4352
uint32_t mt_bucket(uint64_t ns);
uint64_t mt_bucket_lower(uint32_t bucket);
uint64_t mt_bucket_upper(uint32_t bucket);    /* inclusive */

/* Throughput, with the semantics of will-it-scale's page_fault1 to 3: map, write a byte into each page, unmap, again; an
 * iteration is a page. The board is memory shared by all tasks (mt_board_bytes(tasks), zeroed, owned by the caller): a line
 * with the stop flag, and a line of its own for each task's counter. */
struct mt_task {
    uint64_t bytes;
    int32_t test;        /* 1 private anonymous, 2 private file, 3 shared file */
    int32_t thp;
    int32_t cpu;         /* to pin the task to */
    int32_t file_fd;     /* tests 2 and 3: a file of `bytes` */
    int32_t ready_fd;    /* gets one byte when the task is ready (or has failed) */
    int32_t go_fd;       /* becomes readable when all may start */
};

uint64_t mt_board_bytes(uint32_t tasks);
/* Run in the calling thread until stopped; the result is also left on the board. */
int mt_run_task(void *board, uint32_t index, const struct mt_task *task);
/* Run in a new process, which ends with its parent. Returns its id. The child calls async-signal-safe functions only. */
int mt_fork_task(void *board, uint32_t index, const struct mt_task *task);
/* Copy all counters to `iterations` and return the time at which that was done. */
uint64_t mt_sample(const void *board, uint32_t tasks, uint64_t *iterations);
void mt_stop(void *board);
/* 0 while the task runs or after it ended well, else -errno. */
int mt_status(const void *board, uint32_t index);

/* Reading a file whose content is known: the first 8 bytes of block i (of MT_BLOCK_BYTES) are first_word + i. What is read is
 * `pieces` pieces of `piece_bytes`, the first at 0 and each `stride_bytes` behind the one before (multiples of a block). */
#define MT_BLOCK_BYTES 4096
struct mt_pieces {
    uint64_t piece_bytes;
    uint64_t stride_bytes;
    uint64_t pieces;
    uint64_t first_word;
    uint64_t mapped;    /* where the file is mapped, to be read there; 0 to read it by system calls */
    int32_t fd;
    uint32_t stop;      /* set by mt_stop_reading */
};

struct mt_read {
    uint64_t ns;             /* mt_read_all: in the reading calls only; mt_read_paced: from the first due time to the stop */
    uint64_t bytes;
    uint64_t reads;
    uint64_t bad_pages;      /* blocks with another first word */
    uint64_t offset;         /* of the first of them, and what was there */
    uint64_t expected;
    uint64_t found;
    uint64_t max_ns;         /* mt_read_paced: slowest read; longest from due to done */
    uint64_t max_wait_ns;
};

/* Read all pieces once, in order, `buffer_bytes` (a multiple of a block) at a time. */
int mt_read_all(const struct mt_pieces *set, char *buffer, uint64_t buffer_bytes, struct mt_read *out);
/* Until stopped: a read of one block is due every `period_ns`; each block once a round, in an order that looks random and
 * is another one in each round. A read that is late does not put off the next ones. `reads` and `waits` are MT_BUCKETS
 * counters each: time in the read, and time from when it was due until it was done. */
int mt_read_paced(struct mt_pieces *set, uint64_t period_ns, uint64_t *reads, uint64_t *waits, struct mt_read *out);
void mt_stop_reading(struct mt_pieces *set);
/* Its order: a permutation of 0..mask (2^n - 1, n > 0), another one for each round; every step is a bijection of n bits. */
uint64_t mt_shuffled(uint64_t index, uint64_t round, uint64_t mask);

/* Probe: units of fixed work, counted in quanta of fixed length, until stopped or until all `quanta` are over. The board is
 * memory shared with the probe (mt_probe_board_bytes(quanta), zeroed, owned by the caller). While it counts it reads the
 * clock and does nothing else that could call the kernel; its memory was written before. */
enum mt_probe_kind { MT_PROBE_WORK, MT_PROBE_BANDWIDTH };

struct mt_probe {
    uint64_t quantum_ns;
    uint64_t quanta;
    uint64_t bytes;      /* bandwidth: the buffer, of which one half is copied to the other */
    int32_t kind;
    int32_t cpu;         /* to pin the probe to */
    int32_t ready_fd;    /* gets one byte when the probe counts (or has failed) */
};

struct mt_quantum {
    uint64_t units;         /* begun in this quantum and done, perhaps later */
    uint64_t longest_ns;    /* the longest of them took */
};

uint64_t mt_probe_board_bytes(uint64_t quanta);
uint64_t mt_probe_unit_bytes(int kind);    /* copied by a unit; 0 where nothing is */
/* Count in the calling thread. */
int mt_run_probe(void *board, const struct mt_probe *probe);
/* Count in a new process, which ends with its parent. Returns its id. */
int mt_fork_probe(void *board, const struct mt_probe *probe);
void mt_probe_stop(void *board);
int mt_probe_status(const void *board);
uint64_t mt_probe_start_ns(const void *board);
uint64_t mt_probe_done(const void *board);    /* quanta that are over; their records follow the board's first 128 bytes */

/* cffi: end */

#endif
