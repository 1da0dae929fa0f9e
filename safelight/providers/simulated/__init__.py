"""A prediction service to rehearse with: real HTTP, real files, its own record of the truth, and faults on purpose."""
