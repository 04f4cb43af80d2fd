"""What leaves a workspace for this computer: where it may go, and how nothing that was there is lost."""
