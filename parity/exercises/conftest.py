"""The exercises' test fails until there is a solution, so it is not one of this project's."""

collect_ignore = ["test_solution.py"]
