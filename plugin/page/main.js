// Wakes up when a task is open, and not before.
