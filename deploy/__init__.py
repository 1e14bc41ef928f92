"""What runs Yumai in a data centre, and what checks that it would."""
