"""Grading: submissions run in processes of their own, and are judged outside of them."""
