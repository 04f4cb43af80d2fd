"""What must not show a secret goes through here: streams by one door, whole records by the other."""
