"""Virtual specimens and a virtual microscope: patterns whose truth is known at every point.

The specimen is a continuous field, to be scanned at any step: ``rotations`` and
``random_fields`` (tools); ``grains``, ``twins``, ``cells``, ``particles`` and ``lines`` (what
it is made of); ``specimen`` (the class that joins them).

The microscope: ``master_patterns`` (blurred by dislocations) and ``projection``;
``interaction`` (what a beam sees of the specimen); ``illumination`` and ``microscope`` (from
there to counts); ``truth`` and ``scanning`` (the files). ``master_pattern_simulation`` made
the master patterns, once. The parameters of both stand in ``specimen_settings`` and
``microscope_settings`` of the package above.

Frames: sample x runs down the map's rows (down the tilted slope), y along its columns, z
out of the surface. Points are (x, y) in micrometres from the specimen's corner; rotations
turn sample vectors into crystal vectors (lab2crystal).
"""
