"""The exercises, one a file, called like the file."""
