"""The job table and its parts. It decides, and does nothing itself. No HTTP, no processes."""
