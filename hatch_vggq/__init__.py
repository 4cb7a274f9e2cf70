"""The Hatch build hook ``vggq``: configuration in, ``vggq.packing`` called, build data out."""
