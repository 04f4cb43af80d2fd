"""What stands in for the daemon when it is on another computer, reached over ssh."""
