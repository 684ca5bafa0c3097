"""Stopping threads of the target while a sample is read. Used from compiled code only."""
