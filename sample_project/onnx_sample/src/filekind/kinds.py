"""The kinds of files that the model knows, in the order of its outputs."""

from __future__ import annotations

from typing import Final

_NAMES: Final = """
    ai apk appleplist asm asp batch bmp bzip c cab cat chm coff crx cs css csv deb dex dmg
    doc docx elf emf eml epub flac gif go gzip hlp html ico ini internetshortcut iso jar
    java javabytecode javascript jpeg json latex lisp lnk m3u macho makefile markdown mht
    mp3 mp4 mscompress msi mum odex odp ods odt ogg outlook pcap pdf pebin pem perl php png
    postscript powershell ppt pptx python pythonbytecode rar rdf rpm rst rtf ruby rust scala
    sevenzip shell smali sql squashfs svg swf symlinktext tar tga tiff torrent ttf txt
    unknown vba wav webm webp winregistry wmf xar xls xlsb xlsx xml xpi xz yaml zip
    zlibstream
"""
KINDS: Final = tuple(_NAMES.split())
