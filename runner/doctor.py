"""What this machine has and lacks, with the command that mends it."""
