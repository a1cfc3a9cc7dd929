/* What tasks and probe share: a place to run, and a process that ends with its parent. */
#ifndef TASK_H
#define TASK_H

/* Pin the calling thread to a CPU. */
int mt_pin(int cpu);
/* 0 in a new process, which ends with its parent; there its id, or -errno. The child may call async-signal-safe functions
 * only. */
int mt_fork(void);

#endif
