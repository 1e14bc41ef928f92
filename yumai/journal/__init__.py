"""What the topics of targets, alerts and all that follows from them say."""
