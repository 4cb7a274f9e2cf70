"""The Hatch build hook ``vggq``: configuration in, ``vggq.encode`` called, build data out."""
