"""Everything that happens per sample, compiled and without the GIL.

memory     batched reads of another process
codes      code objects, copied on first sight and validated afterwards
frames     what the words of a copied frame say
window     the data stack, from one copy of it: which frames lie there, and which one is innermost (3.11 and later)
heap       frames that lie elsewhere: of generators and coroutines, and entry frames; which ones to read along
links      the whole stack: what lies between the frames of the window, and what runs above the innermost
objects    the same up to 3.10, where all frames are objects
naming     from the frames of a sample to a node of the tree of stacks
thread_reader  one thread of the target: what to read for it, and what the last read showed
reader     a sample of one thread: what is read for it, in which order, and what is made of it
members    the threads that are sampled together, and the state of each
threads    all threads of a process at one moment, at the cost of those that ran
stopper    stopping single threads while a sample is read
stacks     interned stacks
spans      what leaves the core: spans of time in which nothing changed; and `Tally`, which adds them up again
batch      the form of what a sampler hands over
sampler    the clock and the loop
layout     the offsets, as the core has them
bounds     what a layout may say
reference  a readable twin for stopped processes; the oracle of the tests
"""
