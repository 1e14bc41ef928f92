"""The simulated city: its entries, the demo that pours it into a running set-up, cities whose truth is known."""
