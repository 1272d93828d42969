"""Web pages: one HTML file that holds a network, the runtime that computes it, and what a person needs to try it."""
