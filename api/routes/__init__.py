"""One file a subject; each holds the HTTP routes of that subject and nothing else."""
