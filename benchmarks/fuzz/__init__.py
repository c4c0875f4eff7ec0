"""What people bring in, mangled: nothing but a sentence may come of it."""
