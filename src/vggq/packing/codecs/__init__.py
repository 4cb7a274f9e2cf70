"""The encoders of the codecs; ``vggq._codecs`` has the decoders."""
