"""What a workspace is made of: seeding, patches, diffs, paths and archives."""
