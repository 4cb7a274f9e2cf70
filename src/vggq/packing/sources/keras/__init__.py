"""Keras: HDF5 files of all its versions, and the archives of Keras 3."""

from . import archive, hdf5

FORMATS = (hdf5.FORMAT, archive.FORMAT)
