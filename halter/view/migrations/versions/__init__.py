"""The revisions of the view's schema, in order. A released one is never changed.

first    the first tables
origins  where a failure and a dead letter come from, and indexes of what threads wait for
"""
