"""The page that a person looks at: `pyro ui`. A face like the command line, in the browser."""
