"""Views of objects as plain HTML, for notebooks and for `winipc serve`."""
