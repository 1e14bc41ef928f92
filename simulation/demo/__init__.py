"""The demo of a running set-up: its past poured in, its present kept alive."""
