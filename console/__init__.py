"""The `yumai` command. Imports everything, is imported by nobody."""
