"""Are the shares right on real programs? The judge of every change to the core.

    python -m bench.real                     all programs on all versions; says first how long that takes
    python -m bench.real raytrace resub --versions 3.13,3.15
    python -m bench.real.judge               is the judge right? stopped against stopped, and faults made on purpose

bench/README.md has one command per question. What is compared are shares: of a function by itself, and of all below
it. The reference are samples of the target while it stands still, taken by a pinned commit of tachyscope, so that no
change can bend its own judge; in-process timer signals judge code near system calls, where stops come late.
"""
