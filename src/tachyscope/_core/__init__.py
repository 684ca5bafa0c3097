"""Everything that happens per sample, compiled and without the GIL.

memory     batched reads of another process
codes      code objects, copied on first sight and validated afterwards
frames     what the words of a copied frame say
regions    what is read of a thread with each sample, and where
unwinder   what was read of a thread -> its frames, consistent
stacks     interned stacks and their counts
sampler    the clock and the loop
bounds     what a layout may say
reference  a readable twin of the unwinder for stopped processes; the oracle of the tests
"""
