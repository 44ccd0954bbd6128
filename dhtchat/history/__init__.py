"""What this device remembers: statements, people, conversations, receipts. SQLite, nothing else."""
