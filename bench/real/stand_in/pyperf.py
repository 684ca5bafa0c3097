"""Stands in for the package `pyperf`: as much of it as pyperformance's benchmarks touch when they are imported."""

from time import perf_counter

__all__ = ["perf_counter"]
