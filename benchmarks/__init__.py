"""How fast this machine does every stage: ``python -m benchmarks`` or ``make bench``.

Each part measures one stage beside what one would do without this package. The two take turns
in the same run, so that other work on the machine slows both alike.
"""

# First of all imports: the package says where compiled code lies, before orix compiles any.
import kikuhelpers  # noqa: F401
