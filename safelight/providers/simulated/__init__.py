"""A prediction service to rehearse with: real HTTP, real files, its own record of the truth, and faults on purpose."""

from safelight.providers.simulated.adapter import (
    SimulatedImageProvider,
    SimulatedService,
    SimulatedTextModel,
    SimulatedVideoProvider,
)

__all__ = ["SimulatedImageProvider", "SimulatedService", "SimulatedTextModel", "SimulatedVideoProvider"]
