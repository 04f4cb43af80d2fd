"""The way back: a workspace's changes as a branch of the user's repository."""
