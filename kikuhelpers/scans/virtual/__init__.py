"""Virtual specimens and a virtual microscope: patterns whose truth is known at every point.

The specimen is a continuous field that can be scanned at any step. ``rotations`` and
``random_fields`` are its tools; ``grains``, ``twins``, ``cells``, ``particles`` and ``lines``
are what it is made of; ``specimen`` holds the class that joins them.

The microscope turns the specimen into counts. ``interaction`` says what a beam sees of the
specimen; ``master_patterns`` are blurred by dislocations; ``projection`` brings them onto the
detector; ``illumination`` and ``microscope`` make counts of them; ``scanning`` and ``truth``
write the files. The settings of both stand in :mod:`kikuhelpers.study.specimen` and
:mod:`kikuhelpers.study.microscope`.

Frames: sample x runs down the map's rows (down the tilted slope), y along its columns, z
out of the surface. Points are (x, y) in micrometres from the specimen's corner. Rotations
turn sample vectors into crystal vectors (lab2crystal).
"""
