"""The report for people: a session's JSON as one HTML page. `nextframe.tools.report.page` is the way in."""
