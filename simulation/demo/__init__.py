"""The demo city: pours registry, targets and history into a running set-up, then keeps it alive.

The platforms of the demo see COVERAGE of the city's spend (docs/methods.md, The simulated city), in
history and live alike. Some 5,000 entries stand for a day of history, so that each is the sum of
some thousand tickets; the live stream sends single tickets at the same yuan a second.
"""
