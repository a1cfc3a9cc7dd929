/* The probe: one unit of fixed work after another, counted in quanta of fixed length. After the fixed time quantum
 * benchmark of Sottile and Minnich (Analysis of microbenchmarks for performance tuning of clusters, Cluster 2004): unlike
 * fixed work that is timed, its samples are evenly spaced, so what disturbed it can be told by when. */
#define _GNU_SOURCE
#include "memtouch.h"
#include "task.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LINE_BYTES 128
#define COPY_BYTES 16384u
#define WORK_STEPS 1024
#define MOST_FDS 4096

struct header {
    _Atomic uint32_t stop;
    _Atomic int32_t status;
    _Atomic uint64_t done;    /* quanta that are over */
    uint64_t start_ns;
    volatile uint64_t sink;    /* so that the compiler keeps the work */
};

union board {
    struct header header;
    char bytes[LINE_BYTES];
};

_Static_assert(sizeof(union board) == LINE_BYTES, "the head of the board");

uint64_t mt_probe_board_bytes(uint64_t quanta)
{
    return LINE_BYTES + quanta * sizeof(struct mt_quantum);
}

uint64_t mt_probe_unit_bytes(int kind)
{
    return kind == MT_PROBE_BANDWIDTH ? COPY_BYTES : 0;
}

void mt_probe_stop(void *board)
{
    atomic_store(&((union board *)board)->header.stop, 1);
}

int mt_probe_status(const void *board)
{
    return atomic_load(&((const union board *)board)->header.status);
}

uint64_t mt_probe_start_ns(const void *board)
{
    return ((const union board *)board)->header.start_ns;
}

uint64_t mt_probe_done(const void *board)
{
    return atomic_load(&((const union board *)board)->header.done);
}

/* What a unit works on. `half` and `offset` are of bandwidth: the buffer's halves, and how far the copy is in them. */
struct unit {
    uint64_t state;
    char *buffer;
    uint64_t half, offset;
};

static void do_work(struct unit *unit)
{
    uint64_t x = unit->state;
    for (int i = 0; i < WORK_STEPS; i++) {    /* xorshift64: each step needs the one before */
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    unit->state = x;
}

static void do_copy(struct unit *unit)
{
    memcpy(unit->buffer + unit->half + unit->offset, unit->buffer + unit->offset, COPY_BYTES);
    unit->offset = unit->offset + 2 * COPY_BYTES > unit->half ? 0 : unit->offset + COPY_BYTES;
    unit->state += (unsigned char)unit->buffer[unit->half + unit->offset];
}

/* Deadlines lie on a grid from the start on. Whatever held the task up takes its time from the quanta in which it was, and
 * a quantum that passed without a unit begun in it stays at 0. */
static void count(union board *board, struct mt_quantum *quanta, const struct mt_probe *probe, struct unit *unit)
{
    void (*const one)(struct unit *) = probe->kind == MT_PROBE_WORK ? do_work : do_copy;
    uint64_t start = mt_now_ns(), last = start, index = 0, units = 0, longest = 0, deadline = start + probe->quantum_ns;
    board->header.start_ns = start;
    /* Asked whether to stop only behind a quantum: all that were over by then are recorded. */
    while (index < probe->quanta && !(units == 0 && atomic_load_explicit(&board->header.stop, memory_order_relaxed))) {
        one(unit);
        uint64_t now = mt_now_ns();
        units++;
        longest = now - last > longest ? now - last : longest;
        last = now;
        if (now < deadline)
            continue;
        quanta[index] = (struct mt_quantum){.units = units, .longest_ns = longest};
        index = (now - start) / probe->quantum_ns;
        deadline = start + (index + 1) * probe->quantum_ns;
        units = longest = 0;
        board->header.sink = unit->state;
        atomic_store(&board->header.done, index < probe->quanta ? index : probe->quanta);
    }
}

static int check(const struct mt_probe *probe)
{
    if (probe->kind != MT_PROBE_WORK && probe->kind != MT_PROBE_BANDWIDTH)
        return -EINVAL;
    if (probe->quantum_ns == 0 || probe->quanta == 0)
        return -EINVAL;
    return probe->kind == MT_PROBE_BANDWIDTH && probe->bytes < 4 * COPY_BYTES ? -EINVAL : 0;
}

int mt_run_probe(void *memory, const struct mt_probe *probe)
{
    union board *board = memory;
    struct mt_quantum *quanta = (struct mt_quantum *)(board + 1);
    struct unit unit = {.state = 88172645463325252u, .half = probe->bytes / 2 / COPY_BYTES * COPY_BYTES};
    int error = check(probe);
    if (!error)
        error = mt_pin(probe->cpu);
    if (!error && probe->kind == MT_PROBE_BANDWIDTH) {
        unit.buffer = mmap(NULL, 2 * unit.half, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (unit.buffer == MAP_FAILED)
            error = -errno;
        else
            memset(unit.buffer, 1, 2 * unit.half);
    }
    if (!error)    /* every page is there before the first quantum: none faults while it counts */
        memset(quanta, 0, probe->quanta * sizeof(*quanta));
    atomic_store(&board->header.status, error);
    if (write(probe->ready_fd, "", 1) != 1 && !error)
        error = -errno;
    if (!error)
        count(board, quanta, probe, &unit);
    if (unit.buffer && unit.buffer != MAP_FAILED)
        munmap(unit.buffer, 2 * unit.half);
    atomic_store(&board->header.status, error);
    return error;
}

/* Close what the parent has open but `kept`: the memory of a memfd is free only when nobody has it open any more. */
static void close_others(int kept)
{
    long failed = kept > 0 ? syscall(SYS_close_range, 0, kept - 1, 0) : 0;
    failed |= syscall(SYS_close_range, kept + 1, ~0u, 0);
    for (int fd = 0; failed && fd < MOST_FDS; fd++)    /* before Linux 5.9 */
        if (fd != kept)
            close(fd);
}

int mt_fork_probe(void *board, const struct mt_probe *probe)
{
    int child = mt_fork();
    if (child)
        return child;
    close_others(probe->ready_fd);
    _exit(mt_run_probe(board, probe) ? 1 : 0);
}
