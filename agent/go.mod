module pyro.local/agent

go 1.25
