"""What happens while sampling.

options      what is sampled, and how often
identities   who the threads of a target are
scheduling   being let in on time when all CPUs are busy
attachment   one interpreter that is sampled: its sampler, what that has brought in, who its threads are
process      one process from beginning to end: found, sampled, followed through `exec`
descendants  its children, and theirs, each sampled by a thread of its own
session      a process, or a tree of them: what the command line and the Python API share
"""
