"""The third reference: a timer signal inside the target, which nobody has to stop or to read.

A stop by ptrace reaches a running CPU late, and a target that is about to enter the kernel gets there first: code
around system calls looks longer than it is. A timer's interrupt is where it is. Here its handler walks the frames, in
the main thread of the target (`sampler.c`, which tells what a sample is).

    python -m bench.real.signals                 what a signal costs, and how far stops are off beside a system call
    python -m bench.real.signals --python 3.13

In the target, before it loops (`inside.py`, loaded by its path):

    inside.install(str(library_for(python)), output, interval_us)

In the host:

    signals = Signals(pid, output)
    signals.start(); time.sleep(1); signals.stop()  # a turn; between turns the target runs undisturbed
    [stacks] = signals.read()

Good to know:
- The target has to be kept to one CPU, or it cannot be installed: where the timer fires on another CPU, the signal is
  as late as a stop. Two busy loops beside a target on two CPUs took a function of 25 % between two system calls to
  15 %.
- A thread that waits is sampled where it waits, and what it waits in (epoll_wait, sleep) is interrupted; Python goes on
  waiting. A thread that another one keeps from its CPU gets one sample for that, at its end.
- Delays between samples are exponential: each place has the same chance at any time, also right behind a system call
  at which the scheduler took the CPU away and the signal had to wait.
- Names are read while the frame holds its code object, so code that is freed later keeps its name. Two code objects of
  one address are taken for one only if names, file, line and the addresses of both texts are the same.
- The signals SIGRTMIN+3, +4 and +5 are the sampler's; SIGSEGV and SIGBUS are while it walks.
"""

from __future__ import annotations

from bench.real.signals.build import library_for
from bench.real.signals.host import Signals, SignalsError

__all__ = ["Signals", "SignalsError", "library_for"]
