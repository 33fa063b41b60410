"""The tests, a package: files in it share helpers by their whole names."""
