"""What kerasmlp needs of the operating system: files, locks, memory, the allocator and start-up."""
