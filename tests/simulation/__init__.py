"""A deterministic simulation of the runner: the real Worker, Run, Record, Reaper and Database.insist over a database, a
provider and a clock that are models. One seed is one world: who is scheduled when, and what breaks where.

    python -m tests.simulation --seed 42      prints what happened in that world, and what it broke
"""
