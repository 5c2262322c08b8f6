"""What a user may ask: one frozen value for each job."""
