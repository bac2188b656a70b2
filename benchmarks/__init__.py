"""How fast this machine does every stage: ``python -m benchmarks`` or ``make bench``.

Each part measures one stage beside what one would do without this package, in the same run
and in turns, so that other work on the machine slows both alike.
"""
