"""The two sides of training behind one protocol."""
