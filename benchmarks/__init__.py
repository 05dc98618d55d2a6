"""Speed, measured against the libraries that readers would use otherwise: `make bench`."""
