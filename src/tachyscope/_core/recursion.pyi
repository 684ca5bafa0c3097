"""Which calls inside a recursion are believed (to 3.10). Used from compiled code only."""
