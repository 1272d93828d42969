"""What is measured rather than passed."""
