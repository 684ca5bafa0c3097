"""Lets `python -m profiling.sampling` reach tachyscope on interpreters that have no such module of their own."""
