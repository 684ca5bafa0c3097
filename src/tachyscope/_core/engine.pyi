"""One sample of one thread: read, name, find its node. Used from compiled code only."""
