"""`make bench`: what the whole system does on this machine, measured from outside and checked to the fen."""
