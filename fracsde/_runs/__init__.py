"""A run read for its verdict: training, window, frame, laws on trial, assumptions, figures."""
