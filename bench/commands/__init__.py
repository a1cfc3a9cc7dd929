"""What the commands do, in the order of the data: files, the hosts' answers, plan, jobs, run, verdict.

With `bench.cli` this is the composition root: the only place that may import every part.
"""
