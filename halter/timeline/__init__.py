"""The timeline: the history of one WfRun as one HTML file, to step through in a browser, without a network.

`recording` makes the data of a history: for each event its words, its cause and what it changed. `texts` writes values
and names so that they cannot pose as anything else. `page` puts the data, the scripts and the style into one file.
`mermaid` draws the threads as a sequence diagram. The page runs no rule: Python has folded the events with `evolve`.
"""

from halter.timeline.mermaid import sequence
from halter.timeline.page import html
from halter.timeline.recording import recording

__all__ = ["html", "recording", "sequence"]
