"""What is read of a thread with each sample; nothing here is visible from Python."""
