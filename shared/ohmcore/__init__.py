"""The core that node and gateway share: MODBUS frames, register kinds, and the wire between them.

Pure: no I/O, no clock, no threads; the same files run on CPython (3.11 or newer) and MicroPython (1.22 or newer).
"""
