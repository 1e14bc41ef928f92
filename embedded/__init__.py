"""The real broker and the real engine on one machine."""
