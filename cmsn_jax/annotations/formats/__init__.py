"""Annotation formats: one module each, found by being here.

A module has `recognise(sample) -> reason or None`, `read(sample, options) ->
Imported`, and may have `ORDER`: of those that recognise a file, the lowest one
reads it. `TRIES` means that it reads what it does not recognise, if asked to.
"""
