"""A simulated prediction service: real HTTP, real files, its own record of all predictions, and injected faults."""
