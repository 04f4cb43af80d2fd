"""The gVisor engine: runsc, a user-space kernel, without privileges."""
