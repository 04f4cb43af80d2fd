"""pyro where other people's programs run agents and evaluations: a module each, on the SDK.

`inspect_ai`, `deepagents`, `harbor` and `openai_agents` each import the package that they are for, which pyro does not
depend on: import a module only where its package is installed. What they have in common is in `machine`.
"""
