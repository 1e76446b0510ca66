"""feed.xml: an Atom feed of the runs (RFC 4287). Its addresses are relative, since a site does not know its own."""

from html import escape

from runner.report.site.manifest import Manifest, PublishedRun
from runner.report.wording import counted

#: The newest runs that a reader of feeds is shown.
_MOST = 50


def feed(manifest: Manifest) -> str:
    """Entries by when the runs started, the newest first."""
    updated = manifest.runs[0].started_at if manifest.runs else "1970-01-01T00:00:00+00:00"
    entries = "".join(_entry(run) for run in manifest.runs[:_MOST])
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom">\n'
        "<title>connbench</title>\n<id>urn:connbench:site</id>\n"
        f'<updated>{escape(updated)}</updated>\n<link href="index.html"/>\n'
        f"<author><name>connbench</name></author>\n{entries}</feed>\n"
    )


def _entry(run: PublishedRun) -> str:
    told = [f"{counted(run.cells, 'cell')}, {counted(run.blocks, 'block')}"]
    if run.failed:
        told.append(f"{counted(run.failed, 'cell')} failed")
    if run.broken:
        told.append(f"{run.broken} of {counted(run.expectations, 'expectation')} broken")
    told += [
        f"{best.database}: quickest {best.cell} ({best.certainty})"
        for best in run.best
        if best.metric == "throughput_rps"
    ]
    text, folder = escape("; ".join(told)), escape(run.folder)
    return (
        f"<entry><title>{escape(run.name)}, {escape(run.started_at[:10])}: {escape(run.verdict)}</title>"
        f'<id>urn:connbench:run:{folder}</id><link href="runs/{folder}/"/>'
        f"<updated>{escape(run.started_at)}</updated><summary>{text}</summary></entry>\n"
    )
