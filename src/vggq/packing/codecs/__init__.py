"""The encoding halves of the codecs; their decoding halves are in ``vggq._codecs``."""
