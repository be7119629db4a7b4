"""What the command can be asked for, each mode a module; they read the config that main parsed."""
