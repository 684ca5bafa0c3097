"""What call instructions say of the functions that they call. Used from compiled code only."""
