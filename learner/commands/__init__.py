"""The commands of `learner`, one file per subject; each imports what it needs when it runs."""
