"""The turn: sole owner of the selector and of the clock."""
