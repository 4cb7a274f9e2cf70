"""The Hatch build hook ``vggq``, which packs the models of a package while it is built."""
