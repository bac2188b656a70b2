"""What rebuilds a study's table and figures, in small files that git holds.

Trainings take hours and results take gigabytes, so neither is in git. Of each study that
the README shows, ``data/kept/<study>/`` holds the results that its table and figures are made
from, packed: a fresh clone makes them anew without training.

``packing`` makes files small and large again, ``contents`` lists what is kept, ``agreement``
tells whether it was made with the study's present settings, ``runs`` holds who made it,
``store`` keeps and restores, ``networks`` hands kept weights to notebook 03.
"""
