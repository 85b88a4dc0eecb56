"""The job table and its parts. They decide what to do; `loop` does it. No HTTP, no processes."""
