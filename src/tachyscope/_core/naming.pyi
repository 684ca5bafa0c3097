"""Interned stacks: a tree of frames with counts. Used from compiled code only."""
