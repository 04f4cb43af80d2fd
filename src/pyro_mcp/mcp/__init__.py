"""The MCP face: tools derived from the operations, over standard input and output.

`schema` says what tools there are, `access` what they may reach on this computer, `toolbox` runs them; none
of the three knows the MCP library. `server` ties them to it, `opening` answers while it still loads, and
`serve` is what `pyro mcp serve` runs.
"""
