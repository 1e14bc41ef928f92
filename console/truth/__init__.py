"""`make truth`: simulated cities whose truth is known, judged by the same pure functions as the real one."""
