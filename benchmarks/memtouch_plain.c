/* The plain loop that memtouch's throughput mode is compared with: one task, no board, no stop flag, no other process.
 *
 * usage: memtouch_plain CPU WARMUP_S SECONDS     prints "PAGES NANOSECONDS"
 *
 * The clock is read once a mapping of 128 MiB, so the measured time ends with a whole one.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BYTES (128UL << 20)

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Map, write a byte into each page, unmap, until the time is over. Returns the pages written. */
static unsigned long run(double seconds, double *took)
{
    unsigned long page = (unsigned long)sysconf(_SC_PAGESIZE), pages = 0;
    double start = now_s();
    while (now_s() - start < seconds) {
        volatile char *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            exit(1);
        for (unsigned long i = 0; i < BYTES; i += page) {
            memory[i] = 0;
            pages++;
        }
        munmap((void *)memory, BYTES);
    }
    *took = now_s() - start;
    return pages;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET((size_t)atoi(argv[1]), &cpus);
    if (sched_setaffinity(0, sizeof(cpus), &cpus))
        return 1;
    double took;
    run(atof(argv[2]), &took);
    unsigned long pages = run(atof(argv[3]), &took);
    printf("%lu %.0f\n", pages, took * 1e9);
    return 0;
}
