"""Links the node's modules into few, and leaves out of them what a node has no use for.

MicroPython keeps in RAM a dictionary of every module with all its names, every name it meets, and everything a module defines, called
or not. Here the sources become one program:

- `sources` reads the modules and finds out what every name in them means;
- `link` lays them together: direct references instead of imports, no annotations, no constants, nothing that nobody uses;
- `rename` gives what is left names that cost nothing, because every MicroPython has them in ROM or the program needs them anyway;
- `names` says which those are, and which names belong to others.

What the program does stays what it was; only what it is called inside changes. A map of old and new names comes with it.
"""
