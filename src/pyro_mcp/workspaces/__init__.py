"""What a workspace is made of: patches, diffs, exports, what runs in it."""
