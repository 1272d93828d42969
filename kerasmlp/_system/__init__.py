"""What kerasmlp needs from the operating system: files, locks, memory, terminal output and start-up. Not public."""
