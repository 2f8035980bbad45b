"""The command line: one file for each group of commands, over what the rooms below can do."""
