"""lenet5_relu in other libraries, for comparison; each file needs only its own library."""
