"""Foreign models: networks that other libraries made, explained as they are."""
