"""Speaking to the agent inside a machine."""
