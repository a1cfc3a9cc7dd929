/* The tasks of the throughput mode. What is counted follows will-it-scale's tests/page_fault1.c to page_fault3.c. */
#define _GNU_SOURCE
#include "memtouch.h"
#include "task.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

/* 128 and not 64: adjacent-line prefetch on x86-64, and the line size of some arm64 machines. */
#define LINE_BYTES 128

/* The original never asks whether to stop (its tasks are killed). Here it is asked once in so many pages. */
#define PAGES_PER_POLL 512

union line {
    struct {
        _Atomic uint64_t iterations;
        _Atomic int32_t status;
    } task;
    _Atomic uint32_t stop;
    char bytes[LINE_BYTES];
};

_Static_assert(sizeof(union line) == LINE_BYTES, "a line of the board");

static union line *task_line(void *board, uint32_t index)
{
    return (union line *)board + 1 + index;
}

static const union line *read_line(const void *board, uint32_t index)
{
    return (const union line *)board + 1 + index;
}

uint64_t mt_board_bytes(uint32_t tasks)
{
    return ((uint64_t)tasks + 1) * LINE_BYTES;
}

uint64_t mt_sample(const void *board, uint32_t tasks, uint64_t *iterations)
{
    uint64_t now = mt_now_ns();
    for (uint32_t i = 0; i < tasks; i++)
        iterations[i] = atomic_load_explicit(&read_line(board, i)->task.iterations, memory_order_relaxed);
    return now;
}

void mt_stop(void *board)
{
    atomic_store(&((union line *)board)->stop, 1);
}

int mt_status(const void *board, uint32_t index)
{
    return atomic_load(&read_line(board, index)->task.status);
}

static int stopped(const void *board)
{
    return atomic_load_explicit(&((const union line *)board)->stop, memory_order_relaxed) != 0;
}

/* Write one byte into each page; volatile, so that each write is made, alone and in order. Returns the new count. */
static uint64_t write_pages(volatile char *memory, uint64_t bytes, uint64_t page, uint64_t count, const void *board,
                            _Atomic uint64_t *counter)
{
    uint64_t block = PAGES_PER_POLL * page;
    for (uint64_t start = 0; start < bytes && !stopped(board); start += block) {
        uint64_t end = bytes - start < block ? bytes : start + block;
        for (uint64_t i = start; i < end; i += page) {
            memory[i] = 0;
            atomic_store_explicit(counter, ++count, memory_order_relaxed);
        }
    }
    return count;
}

static int map_write_unmap(void *board, uint32_t index, const struct mt_task *task)
{
    int flags = task->test == 1 ? MAP_PRIVATE | MAP_ANONYMOUS : task->test == 2 ? MAP_PRIVATE : MAP_SHARED;
    int fd = task->test == 1 ? -1 : task->file_fd;
    uint64_t page = mt_page_bytes(), count = 0;
    while (!stopped(board)) {
        char *memory = mmap(NULL, task->bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
        if (memory == MAP_FAILED)
            return -errno;
        if (task->thp != MT_THP_SYSTEM &&
            madvise(memory, task->bytes, task->thp == MT_THP_ALWAYS ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) &&
            !(task->thp == MT_THP_NEVER && errno == EINVAL))
            return -errno;
        count = write_pages(memory, task->bytes, page, count, board, &task_line(board, index)->task.iterations);
        if (munmap(memory, task->bytes))
            return -errno;
    }
    return 0;
}

int mt_pin(int cpu)
{
    unsigned long mask[128] = {0};    /* 8192 CPUs, more than cpu_set_t has */
    const unsigned bits = 8 * sizeof(*mask);
    if (cpu < 0 || (unsigned)cpu >= sizeof(mask) * 8)
        return -EINVAL;
    mask[(unsigned)cpu / bits] = 1UL << (unsigned)cpu % bits;
    return sched_setaffinity(0, sizeof(mask), (const cpu_set_t *)(const void *)mask) ? -errno : 0;
}

static int start_together(const struct mt_task *task)
{
    struct pollfd go = {.fd = task->go_fd, .events = POLLIN};
    int ready;
    do
        ready = poll(&go, 1, -1);
    while (ready < 0 && errno == EINTR);
    return ready < 0 ? -errno : 0;
}

int mt_run_task(void *board, uint32_t index, const struct mt_task *task)
{
    int error = task->test < 1 || task->test > 3 || task->bytes == 0 ? -EINVAL : mt_pin(task->cpu);
    /* Written even after an error, so that whoever waits for all tasks never waits for this one. */
    if (write(task->ready_fd, "", 1) != 1 && !error)
        error = -errno;
    if (!error)
        error = start_together(task);
    if (!error)
        error = map_write_unmap(board, index, task);
    atomic_store(&task_line(board, index)->task.status, error);
    return error;
}

int mt_fork(void)
{
    pid_t parent = getpid();
    pid_t child = fork();
    if (child < 0)
        return -errno;
    if (child > 0)
        return child;
    /* Handlers of the parent (Python's write to its wake-up pipe) have no place here. */
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
        _exit(1);
    return 0;
}

int mt_fork_task(void *board, uint32_t index, const struct mt_task *task)
{
    int child = mt_fork();
    if (child)
        return child;
    _exit(mt_run_task(board, index, task) ? 1 : 0);
}
