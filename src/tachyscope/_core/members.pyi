"""The threads of a process that are sampled together. Used from compiled code only."""
