"""What leaves a workspace for this machine: where it may go, and how nothing that was there is lost."""
