"""Virtual specimens and a virtual microscope: patterns whose truth is known at every point.

``specimen`` is a continuous field that can be scanned at any step, made of ``grains_and_defects``
and ``cells`` with the mathematics of ``fields_and_rotations``. ``microscope`` turns what a beam
sees of it into counts, from blurred and projected ``master_patterns``; ``scanning`` writes the
files. The settings of both stand in :mod:`kikuhelpers.study.specimen` and
:mod:`kikuhelpers.study.scans`.

Frames: sample x runs down the map's rows (down the tilted slope), y along its columns, z
out of the surface. Points are (x, y) in micrometres from the specimen's corner. Rotations turn
sample vectors into crystal vectors (lab2crystal). The pattern centre moves as in a real scan,
which goes up the slope (docs/conventions.md): two frames, half a turn about z apart.
"""
