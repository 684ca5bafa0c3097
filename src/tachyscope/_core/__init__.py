"""Everything that happens per sample, compiled and without the GIL.

memory     batched reads of another process
codes      code objects, copied on first sight and validated afterwards
unwinder   one thread state -> its frames, consistent
sampler    the clock, the loop, interned stacks and their counts
reference  a readable twin of the unwinder for stopped processes; the oracle of the tests
"""
