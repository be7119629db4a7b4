"""The problems that the one training loop can be given."""
