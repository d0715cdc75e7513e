"""Step 7, the report: one self-contained page for a person to look at. It shows what was measured, measures nothing."""

from m2diff.verbs import make_verb

make_verb(__name__, "m2diff.report.page:write")
