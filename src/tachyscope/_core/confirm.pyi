"""Whether a stack that was walked is the one that is there (to 3.10). Used from compiled code only."""
