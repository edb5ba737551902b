"""Private helpers that the subjects share."""
