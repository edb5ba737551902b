"""What the subjects share and no user imports."""
