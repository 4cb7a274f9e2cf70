"""Keras files: HDF5 of any version, and the archives of Keras 3."""

from . import archive, hdf5

FORMATS = (hdf5.FORMAT, archive.FORMAT)
