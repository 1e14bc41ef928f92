"""The state that the topics of targets, alerts, actions, work items, offices, deliveries and feeds add up to."""
