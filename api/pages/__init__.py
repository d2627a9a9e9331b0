"""Pages in a browser: templates, their words, and the modules that run there."""
