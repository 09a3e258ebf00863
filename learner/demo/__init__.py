"""`learner demo`: the whole loop on texts of this machine, through the real server and the real model.

`documents` finds real texts, `writer` is a person with a habit, `editor` is a client of the real
`redraft-lsp`, `story` runs the phases, `picture` draws what came of it. Imported by the command only.
"""
