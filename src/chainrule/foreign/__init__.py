"""Other formats and libraries: from and to them."""
