"""kikuhelpers: see microstructure through a neural latent space of Kikuchi patterns.

Modules stand in the order of the data: ``study`` (the parameters), ``layout`` (where
files are), ``up2``, ``readers``, ``public_scans`` and ``specimen`` (scans),
``preprocessing``, ``vae``, ``losses``, ``augmentation`` and ``training`` (models),
``latents`` and ``reconstruction``, ``indexing``, ``confidence``, ``orientation_maps``
and ``quality`` (orientations), ``tables`` and ``figures``.
"""

__version__ = "0.1.0"
