"""`pyro demo ollama`: a local model, the fence around it, and the demo that they play."""
