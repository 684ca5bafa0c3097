"""Interned stacks: a tree of frames. Used from compiled code only."""
