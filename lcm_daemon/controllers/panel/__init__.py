"""The web panel: one page with the live output and a control for every parameter."""
