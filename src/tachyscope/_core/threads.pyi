"""All threads of a process at one moment, at the cost of those that ran. Used from compiled code only."""
