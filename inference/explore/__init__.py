"""A page that shows what every layer of a network makes of a digit drawn on it."""
