"""Keras files: HDF5 of any version, and the archives and sharded weights of Keras 3."""

from . import archive, hdf5, sharded

FORMATS = (hdf5.FORMAT, archive.FORMAT, sharded.FORMAT)
