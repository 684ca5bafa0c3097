"""From a thread state to its frames, in one system call, consistent. Used from compiled code only."""
