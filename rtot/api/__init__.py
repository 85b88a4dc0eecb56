"""What a request means: requests in, answers out, the job table between them."""
