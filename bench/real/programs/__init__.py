"""Real programs; each module has a setup() that returns one iteration, see ../target.py."""
