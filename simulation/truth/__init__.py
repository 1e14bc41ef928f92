"""`make truth`: simulated cities whose truth is known, judged by `yumai.evaluation` as the real one is."""
