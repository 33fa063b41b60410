"""The explorer of a watched run: its curves, and the steps, samples and weights behind them."""
